//! Rules of one record, as tables and properties.
