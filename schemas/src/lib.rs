//! What crosses a wire: ids, the catalogue, messages, topics, bodies, framing.
