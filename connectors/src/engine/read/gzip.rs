//! gzip, pushed in pieces: a bomb meets the bound before it has grown.

use std::io::Write;

use flate2::write::MultiGzDecoder;

use crate::engine::trouble::{Trouble, TroubleKind};

/// Of the compressed body at once: 4 KiB become 4 MiB at the most.
const PIECE: usize = 4096;

pub(super) struct Gunzip(MultiGzDecoder<Vec<u8>>);

impl Gunzip {
    pub(super) fn new() -> Self {
        Self(MultiGzDecoder::new(Vec::new()))
    }

    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        to: &mut dyn FnMut(&[u8]) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        for piece in bytes.chunks(PIECE) {
            self.0.write_all(piece).map_err(|_| TroubleKind::Malformed("gzip"))?;
            to(self.0.get_ref())?;
            self.0.get_mut().clear();
        }
        Ok(())
    }

    pub(super) fn end(self, to: &mut dyn FnMut(&[u8]) -> Result<(), Trouble>) -> Result<(), Trouble> {
        let rest = self.0.finish().map_err(|_| TroubleKind::Truncated("gzip"))?;
        to(&rest)
    }
}
