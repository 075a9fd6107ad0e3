//! Certificates are read again when their files change, and once a minute for file systems that tell nobody. A
//! bad one is reported once and changes nothing.

use crate::term::{err, fault};
use crate::watching::FileWatch;
use crate::wiring::World;
use base::{Fault, OnError};
use std::time::Duration;
use wire::Reread;

const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Watches the files of certificates, if there are any, from now on.
pub(crate) fn watch(world: &World, tls: Option<&impl Reread>) {
    let Some(tls) = tls.filter(|tls| !tls.files().is_empty()).cloned() else { return };
    world.scope.spawn_once("certificates", OnError::Report, async move {
        let mut watch = FileWatch::new(&tls.files());
        let mut told = None;
        loop {
            look(&tls, &mut told);
            let _ = tokio::time::timeout(LOOK_EVERY, watch.changed()).await;
            // A link may lead elsewhere by now.
            watch.set(&tls.files());
        }
    });
}

/// Reads them again; `told` is the trouble that was reported last.
fn look(tls: &impl Reread, told: &mut Option<String>) {
    match tls.reload() {
        Ok(changed) => {
            *told = None;
            if changed {
                err("certificates reloaded");
            }
        }
        Err(trouble) => {
            let text = trouble.to_string();
            if told.as_ref() != Some(&text) {
                fault(&Fault::hint(trouble, "the last good certificates stay in force"));
                *told = Some(text);
            }
        }
    }
}
