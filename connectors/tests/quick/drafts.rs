//! The twelve definitions that the language was tried on.

use std::{fs, io, path::Path};

use tributary_connectors::definition::Written;

/// File and text of each.
pub(crate) fn all() -> io::Result<Vec<(String, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quick/drafts");
    let read = |entry: io::Result<fs::DirEntry>| {
        let file = entry?;
        Ok((file.file_name().to_string_lossy().into_owned(), fs::read_to_string(file.path())?))
    };
    let mut read: Vec<(String, String)> = fs::read_dir(folder)?.map(read).collect::<io::Result<_>>()?;
    read.sort();
    Ok(read)
}

#[test]
fn each_is_read() {
    let all = all().unwrap();
    assert_eq!(all.len(), 12);
    let mut wrong = Vec::new();
    for (file, text) in &all {
        if let Err(error) = Written::read(file, text) {
            wrong.push(error.to_string());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
