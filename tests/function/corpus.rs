//! Runs the fuzzers' checks on their corpus, without a fuzzer.

#[path = "../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "the fuzzers' library")]
mod checks;

fn check_corpus(target: &str, check: fn(&[u8])) {
    let files = std::fs::read_dir(format!(
        "{}/fuzz/corpus/{target}",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    let broken: Vec<_> = files
        .map(|file| file.unwrap().path())
        .filter(|path| {
            let bytes = std::fs::read(path).unwrap();
            std::panic::catch_unwind(|| check(&bytes)).is_err()
        })
        .collect();
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn the_corpus_of_the_envelope_holds() {
    check_corpus("envelope", checks::envelope);
}

#[test]
fn the_corpus_of_the_event_holds() {
    check_corpus("event", checks::event);
}
