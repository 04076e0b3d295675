#!/usr/bin/env python3
"""Writes dashboards/*.json: the overview in the order of the flow, and one for each stage.

A panel is a title, a unit and its queries; run this after a change, and commit what it writes. tests/tests/quick/operations.rs
holds every query to ops/metrics.md and the recording rules, tests/tests/alerts evaluates each against a Prometheus.
"""

import json
from pathlib import Path

PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}


def late(histogram, share, by=""):
    """The time within which a share of what a histogram saw lies."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({histogram}_bucket[$__rate_interval])))"


def rate(counter, by):
    return f"sum by ({by}) (rate({counter}[$__rate_interval]))"


def times(title, histogram, by=""):
    legend = f"{{{{{by}}}}} " if by else ""
    return title, "s", [(late(histogram, share, by), f"{legend}p{share * 100:g}") for share in (0.5, 0.99)]


def rates(title, counter, *by):
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    return title, "ops", [(rate(counter, ", ".join(by)), legend)]


def unread(group):
    query = f'topic:tributary_kafka_unread_messages:sum{{group=~"{group}"}}'
    return "Not read yet", "short", [(query, "{{group}} {{topic}}")]


OVERVIEW = [
    ("Is it well?", [
        ("Processes by stage", "short", [("stage:tributary_process_stages:sum", "{{stage}}")]),
        ("Native events later than 5 s (objective: 0.1 %)", "percentunit", [
            ("slo:native_late:ratio_rate5m", "5 min"), ("slo:native_late:ratio_rate1h", "1 h"), ("slo:native_late:ratio_rate3d", "3 d")]),
        ("Alerts that fire", "short", [('sum by (alertname, severity) (ALERTS{alertstate="firing"})', "{{severity}} {{alertname}}")]),
    ]),
    ("ingest", [
        ("Requests by outcome", "ops", [("sum by (outcome) (provider:tributary_ingest_requests:rate5m)", "{{outcome}}")]),
        times("From arrival to answer", "tributary_ingest_request_seconds"),
    ]),
    ("poll", [
        ("Runs by outcome", "ops", [("sum by (outcome) (provider:tributary_poll_runs:rate5m)", "{{outcome}}")]),
        ("Due, running, waiting", "short", [
            ("sum(tributary_poll_due_resources)", "due"), ("sum(tributary_poll_in_flight_runs)", "running"),
            ("sum(tributary_poll_waiting_runs)", "waiting")]),
    ]),
    ("unify", [
        ("Events told", "ops", [("sum by (event) (event:tributary_unify_events:rate5m)", "{{event}}")]),
        times("Native: from request to commit", "tributary_unify_native_latency_seconds"),
        unread("unify"),
    ]),
    ("deliver", [
        ("Attempts by outcome", "ops", [("sum by (outcome) (outcome:tributary_deliver_attempts:rate5m)", "{{outcome}}")]),
        times("From decision to delivery, by mode", "tributary_deliver_latency_seconds", "mode"),
        unread("deliver.*"),
    ]),
    ("control", [
        rates("Requests by status", "tributary_control_requests_total", "status"),
        ("Changes not published", "short", [("sum(tributary_control_unpublished_changes)", "changes")]),
    ]),
]

KAFKA = ("Kafka and the store", [
    ("Connected brokers", "short", [("tributary_kafka_connected_brokers", "{{instance}} {{client}}")]),
    ("Round trip, p99", "s", [("tributary_kafka_round_trip_seconds", "{{instance}} {{client}}")]),
    ("Waits for the brokers", "bytes", [("sum by (client) (tributary_kafka_queued_bytes)", "{{client}}")]),
    ("Clock, ahead of the brokers'", "s", [("tributary_kafka_clock_skew_seconds", "{{instance}}")]),
    ("Requests timed out, sent again", "ops", [
        (rate("tributary_kafka_request_timeouts_total", "client"), "{{client}} timed out"),
        (rate("tributary_kafka_request_retries_total", "client"), "{{client}} again")]),
    ("The store asked again, in vain", "ops", [
        (rate("tributary_store_retries_total", "instance"), "{{instance}} again"),
        (rate("tributary_store_unavailable_total", "instance"), "{{instance}} in vain")]),
])

STAGES = {
    "ingest": [
        ("Requests", [
            rates("By provider", "tributary_ingest_requests_total", "provider"),
            rates("By outcome", "tributary_ingest_requests_total", "outcome"),
            times("From arrival to answer", "tributary_ingest_request_seconds"),
            ("Bodies: size, p99", "bytes", [(late("tributary_ingest_body_bytes", 0.99), "p99")]),
            ("Bodies held", "bytes", [("tributary_ingest_held_bytes", "{{instance}}")]),
        ]),
        KAFKA,
    ],
    "poll": [
        ("Runs", [
            rates("By provider", "tributary_poll_runs_total", "provider"),
            rates("By outcome", "tributary_poll_runs_total", "outcome"),
            times("How long they take", "tributary_poll_run_seconds", "provider"),
            ("Scheduled, due", "short", [
                ("sum(tributary_poll_scheduled_resources)", "scheduled"), ("sum(tributary_poll_due_resources)", "due")]),
            ("Running, waiting", "short", [
                ("tributary_poll_in_flight_runs", "{{instance}} running"), ("tributary_poll_waiting_runs", "{{instance}} waiting")]),
            ("What waiting runs hold", "bytes", [("tributary_poll_held_bytes", "{{instance}}")]),
        ]),
        ("Providers", [
            rates("Requests by provider and outcome", "tributary_poll_requests_total", "provider", "outcome"),
            rates("Records listed", "tributary_poll_records_total", "provider", "content"),
            rates("Ranges compared", "tributary_poll_ranges_total", "outcome"),
            rates("Records without a name", "tributary_poll_nameless_records_total", "provider"),
            rates("Triggers", "tributary_poll_triggers_total", "outcome"),
        ]),
        KAFKA,
    ],
    "unify": [
        ("Events", [
            rates("Told", "tributary_unify_events_total", "event"),
            rates("Silent, and why", "tributary_unify_notes_total", "note"),
            rates("Read", "tributary_unify_inputs_total", "twin"),
            rates("Set aside", "tributary_unify_rejections_total", "reason"),
            times("Native: from request to commit", "tributary_unify_native_latency_seconds"),
            unread("unify"),
        ]),
        ("The protocol", [
            rates("Transactions", "tributary_unify_transactions_total", "outcome"),
            times("Phases of a batch", "tributary_unify_phase_seconds", "phase"),
            ("Messages in a batch, p50", "short", [(late("tributary_unify_batch_messages", 0.5), "p50")]),
            ("Committed and not applied", "short", [("tributary_unify_wal_unapplied_records", "{{instance}} {{lane}}")]),
            ("Memory", "bytes", [("tributary_unify_memory_bytes", "{{instance}}")]),
            ("Partitions read", "short", [("tributary_unify_partitions", "{{instance}} {{lane}}")]),
            times("Recoveries", "tributary_unify_recovery_seconds"),
            rates("Partitions that halted", "tributary_unify_partitions_halted_total", "kind"),
        ]),
        KAFKA,
    ],
    "deliver": [
        ("Deliveries", [
            rates("Attempts by outcome", "tributary_deliver_attempts_total", "outcome"),
            rates("Attempts by status", "tributary_deliver_attempts_total", "status"),
            times("From decision to delivery, by mode", "tributary_deliver_latency_seconds", "mode"),
            times("How long attempts take", "tributary_deliver_attempt_seconds"),
            ("In flight", "short", [("tributary_deliver_in_flight_attempts", "{{instance}}")]),
            unread("deliver.*"),
        ]),
        ("Webhooks", [
            ("Behind: positions", "short", [("tributary_deliver_behind_partitions", "{{instance}}")]),
            ("Behind: the oldest", "s", [("tributary_deliver_oldest_behind_seconds", "{{instance}}")]),
            rates("Fell behind, by why", "tributary_deliver_fell_behind_total", "reason"),
            ("Failing", "short", [("tributary_deliver_failing_webhooks", "{{instance}}")]),
            rates("Disabled", "tributary_deliver_disabled_webhooks_total", "reason"),
            rates("Read for those behind", "tributary_deliver_swept_total", "kind"),
        ]),
        KAFKA,
    ],
    "control": [
        ("The API", [
            rates("By status", "tributary_control_requests_total", "status"),
            rates("By route", "tributary_control_requests_total", "route"),
            times("How long they take", "tributary_control_request_seconds", "route"),
            ("Changes not published", "short", [("tributary_control_unpublished_changes", "{{instance}}")]),
            rates("Entities that can't be read", "tributary_control_unreadable_total", "kind"),
        ]),
        KAFKA,
    ],
}


def declared():
    """The metrics of ops/metrics.md by section: name, kind, unit, labels."""
    sections, section = {}, None
    for line in (Path(__file__).parent.parent / "metrics.md").read_text().splitlines():
        if line.startswith("## "):
            section = sections.setdefault(line[3:], [])
        elif line.startswith("| `tributary_"):
            name, kind, unit, labels, meaning = (cell.strip() for cell in line.strip("|").split(" | "))
            section.append((name.strip("`"), kind, unit, [label.strip("`") for label in labels.split()], meaning.rstrip(" |")))
    return sections


def the_rest(metrics, rows):
    """Panels for what no query asks for yet: nothing that is measured is out of sight."""
    asked = " ".join(expr for _, of_row in rows for _, _, queries in of_row for expr, _ in queries)
    panels = []
    for name, kind, unit, labels, meaning in metrics:
        if name in asked:
            continue
        title, shown = meaning.split(". ")[0].rstrip(".").split(":")[0], {"seconds": "s", "bytes": "bytes"}.get(unit, "short")
        if kind == "counter":
            panels.append(rates(title, name, *(labels or ["instance"])))
        elif kind == "histogram":
            panels.append((title, shown, [(late(name, share), f"p{share * 100:g}") for share in (0.5, 0.99)]))
        else:
            panels.append((title, shown, [(name, " ".join(f"{{{{{label}}}}}" for label in ["instance", *labels]))]))
    return [("Further", panels)] if panels else []


def dashboard(name, rows):
    panels, y = [], 0

    def add(panel, x, y, width, height):
        panels.append({"id": len(panels) + 1, "gridPos": {"x": x, "y": y, "w": width, "h": height}, **panel})

    for row, (title, of_row) in enumerate(rows):
        add({"type": "row", "title": title, "collapsed": False, "panels": []}, 0, y, 24, 1)
        y += 1
        for at, (title, unit, queries) in enumerate(of_row):
            targets = [
                {"refId": chr(ord("A") + n), "datasource": PROMETHEUS, "expr": expr, "legendFormat": legend}
                for n, (expr, legend) in enumerate(queries)
            ]
            field = {"defaults": {"unit": unit, "min": None if "Clock" in title else 0}, "overrides": []}
            panel = {"type": "timeseries", "title": title, "datasource": PROMETHEUS, "fieldConfig": field, "targets": targets}
            add(panel, at % 3 * 8, y + at // 3 * 8, 8, 8)
        y += (len(of_row) + 2) // 3 * 8
    return {
        "uid": f"tributary-{name}", "title": f"Tributary: {name}", "tags": ["tributary"], "schemaVersion": 39, "version": 1,
        "editable": False, "refresh": "10s", "time": {"from": "now-1h", "to": "now"}, "timezone": "utc",
        "links": [{"type": "dashboards", "tags": ["tributary"], "title": "Tributary", "asDropdown": False}],
        "panels": panels,
    }


def main():
    folder = Path(__file__).parent / "dashboards"
    sections = declared()
    # What each process has is on the overview, where no stage's panel shows it.
    shared = [metric for part, metrics in sections.items() if part not in STAGES for metric in metrics]
    boards = {"overview": OVERVIEW + the_rest(shared, [*OVERVIEW, KAFKA])}
    boards |= {stage: rows + the_rest(sections[stage], rows) for stage, rows in STAGES.items()}
    for name, rows in boards.items():
        text = json.dumps(dashboard(name, rows), indent=1, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text + "\n")


main()
