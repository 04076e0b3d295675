//! A wall clock for a process, which a test sets while it runs. On Linux only: it is preloaded.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use tokio::process::Command;

/// The clock of the processes that it is given to.
pub struct Clock {
    folder: tempfile::TempDir,
}

impl Clock {
    /// A clock that is right.
    ///
    /// # Errors
    /// When it can't be compiled: a C compiler is needed, as for librdkafka.
    pub async fn new() -> anyhow::Result<Self> {
        let clock = Self { folder: tempfile::tempdir()? };
        clock.set(0)?;
        let source = clock.folder.path().join("clock.c");
        std::fs::write(&source, include_str!("clock.c"))?;
        let mut compile = Command::new("cc");
        compile.args(["-O2", "-shared", "-fPIC", "-o"]).arg(clock.library()).arg(source);
        ensure!(compile.status().await.context("running cc")?.success(), "cc: clock.c does not compile");
        Ok(clock)
    }

    /// Has a process go by this clock.
    pub fn give(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.library()).env("TRIBUTARY_TEST_CLOCK", self.ahead());
    }

    /// Sets it so many seconds ahead of the machine's; behind, if negative.
    ///
    /// # Errors
    /// When its file can't be written.
    pub fn set(&self, seconds: i64) -> anyhow::Result<()> {
        let micros = seconds * 1_000_000;
        // In place: the processes have it in their memory.
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(self.ahead())?;
        Ok(std::os::unix::fs::FileExt::write_all_at(&file, &micros.to_ne_bytes(), 0)?)
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("clock.so")
    }

    fn ahead(&self) -> PathBuf {
        self.folder.path().join("ahead")
    }
}
