"""What the Django products share: settings of ours over theirs, tables at once instead of by hundreds of migrations, and a
script run inside the product."""

import json

SETTINGS = """import os

from {base} import *  # noqa: F403

if os.environ.get("TRIBUTARY_TABLES_AT_ONCE"):

    class Nothing:
        def __contains__(self, name):
            return True

        def __getitem__(self, name):
            return None

    MIGRATION_MODULES = Nothing()
"""

AT_ONCE = "import os, sys; os.environ['TRIBUTARY_TABLES_AT_ONCE'] = '1'; os.execv(sys.argv[1], sys.argv[1:])"


def write_settings(data, base, ours=""):
    """Writes the settings module, over the product's own."""
    (data / "tributary_settings.py").write_text(SETTINGS.format(base=base) + ours)


def environment(data):
    return {"DJANGO_SETTINGS_MODULE": "tributary_settings", "PYTHONPATH": str(data), "TRIBUTARY_DATA": str(data)}


def tables(product, data):
    django = [product.program("python"), "-c", AT_ONCE, product.program("django-admin")]
    product.run([*django, "migrate", "--run-syncdb", "--noinput", "-v", "0"], data)


def script(product, data, text, **given):
    """Runs a script inside the product, with names given to it."""
    head = "".join(f"{name} = {json.dumps(value)}\n" for name, value in given.items())
    product.run([product.program("python"), "-c", f"import django\n\ndjango.setup()\n{head}{text}"], data)


def server(instance, application):
    """Threads, as some deliver a webhook while a request is answered."""
    bind = ["--bind", f"127.0.0.1:{instance.port}", "--chdir", str(instance.data)]
    return [instance.program("gunicorn"), "--workers", "1", "--threads", "8", "--timeout", "120", *bind, application]
