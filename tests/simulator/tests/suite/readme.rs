//! The README's table is the one that is made.

#[test]
fn the_readme_has_the_table_that_is_made() {
    let readme = include_str!("../../README.md");
    let table = readme.split("<!-- table -->\n").nth(1).and_then(|rest| rest.split("<!-- /table -->").next());
    assert_eq!(
        table,
        Some(tributary_simulator::offers().as_str()),
        "put `simulator --table` into the README"
    );
}
