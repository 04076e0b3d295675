//! The one writing function of an entity, used by control and by poll.
