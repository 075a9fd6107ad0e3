//! Any text as a manifest and as a file of variables: values or diagnostics that can be shown, no panic.
#![no_main]

use base::Source;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let source = Source::new("tombolo.yaml", text);
    let (manifest, diagnostics) = manifest::read(&source);
    for diagnostic in &diagnostics {
        assert!(!diagnostic.render(false).is_empty());
    }
    match manifest {
        Some(manifest) => assert_eq!(
            manifest::start_order(&manifest).iter().map(Vec::len).sum::<usize>(),
            manifest.services.len(),
            "every service has its place in the order"
        ),
        None => assert!(!diagnostics.is_empty(), "a manifest that can't be read says why"),
    }
    let (_, diagnostics) = manifest::env_file(&source);
    for diagnostic in &diagnostics {
        assert!(!diagnostic.render(false).is_empty());
    }
});
