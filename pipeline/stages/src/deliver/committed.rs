//! What is committed beside an offset: how far the webhooks had been read, so that the next owner knows who begins.

use tributary_core::deliver::partition::ViewPosition;

/// As committed: `v1 <partition>:<next> …`.
pub(super) fn to_text(view: &ViewPosition) -> String {
    view.iter().fold("v1".to_owned(), |text, (partition, next)| format!("{text} {partition}:{next}"))
}

/// Reads it; `None` for an offset that was committed by a tool, or by a release that said nothing of it: then nobody begins.
pub(super) fn from_text(text: &str) -> Option<ViewPosition> {
    let places = text.strip_prefix("v1")?;
    let place = |it: &str| {
        let (partition, next) = it.split_once(':')?;
        Some((partition.parse().ok()?, next.parse().ok()?))
    };
    places.split_whitespace().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_s_position_reads_back_and_anything_else_is_none() {
        for view in [ViewPosition::new(), [(0, 10), (23, 7)].into()] {
            assert_eq!(from_text(&to_text(&view)), Some(view));
        }
        for other in ["", "v2 1:2", "v1 1", "v1 a:2", "v1 1:x"] {
            assert_eq!(from_text(other), None, "{other}");
        }
    }
}
