//! A disk in memory that does what disks do at the worst moment: it fails, writes half, is full, loses what was
//! not synced in any order, and calls a second sync a success after the first failed.

use crate::log::disk::{Disk, DiskFile};
use base::Chance;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR_BYTES: usize = 512;

/// What goes wrong at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing is done, and an error answered.
    Error,
    /// Of a write only a part is done.
    Short,
    /// From here on there is no room for a file to grow, for so many steps.
    Full(u64),
    /// A sync answers an error, and what was written since the last one is forgotten without being marked so.
    Sync,
    /// The machine stops: all steps fail until it is started again.
    Stop,
}

#[derive(Clone)]
pub(super) struct SimDisk(Arc<Mutex<World>>, Arc<AtomicBool>);

struct World {
    chance: Chance,
    inodes: Vec<Inode>,
    /// What programs see.
    names: BTreeMap<String, usize>,
    /// What is there after the machine stopped.
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    steps: u64,
    trouble: Option<(u64, Trouble)>,
    full_until: u64,
    capacity: usize,
    stopped: bool,
}

#[derive(Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

enum NameChange {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create(name, inode) => drop(names.insert(name.clone(), *inode)),
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(name) => drop(names.remove(name)),
        }
    }
}

impl SimDisk {
    pub(super) fn new(chance: Chance) -> Self {
        Self(
            Arc::new(Mutex::new(World {
                chance,
                inodes: Vec::new(),
                names: BTreeMap::new(),
                durable_names: BTreeMap::new(),
                name_changes: Vec::new(),
                steps: 0,
                trouble: None,
                full_until: 0,
                capacity: usize::MAX,
                stopped: false,
            })),
            Arc::default(),
        )
    }

    /// While this is true, a sync of a file does not end.
    pub(super) fn stuck(&self) -> Arc<AtomicBool> {
        self.1.clone()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Lets something go wrong after so many more steps that change something.
    pub(super) fn trouble_in(&self, steps: u64, trouble: Trouble) {
        let mut world = self.world();
        world.trouble = Some((world.steps + steps, trouble));
    }

    /// So many bytes fit on it.
    pub(super) fn set_capacity(&self, bytes: usize) {
        self.world().capacity = bytes;
    }

    /// Nothing goes wrong any more.
    pub(super) fn calm(&self) {
        let mut world = self.world();
        (world.trouble, world.full_until) = (None, 0);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.world().stopped
    }

    /// The machine stops and starts again: what was not synced is there in part, whichever.
    pub(super) fn restart(&self) {
        let mut world = self.world();
        let world = &mut *world;
        let kept = world.chance.below(world.name_changes.len() + 1);
        for change in world.name_changes.drain(..).take(kept) {
            change.apply(&mut world.durable_names);
        }
        world.names = world.durable_names.clone();
        for inode in &mut world.inodes {
            for (offset, bytes) in std::mem::take(&mut inode.pending) {
                // A disk writes sectors, in any order.
                let mut at = 0;
                while at < bytes.len() {
                    let end = ((offset + at) / SECTOR_BYTES + 1) * SECTOR_BYTES - offset;
                    let end = end.min(bytes.len());
                    if world.chance.below(2) == 0 {
                        put(&mut inode.durable, offset + at, &bytes[at..end]);
                    }
                    at = end;
                }
            }
            inode.content = inode.durable.clone();
        }
        (world.stopped, world.trouble, world.full_until) = (false, None, 0);
    }

    /// Changes a byte of a file, on the disk itself.
    pub(super) fn damage(&self, name: &str, offset: usize) {
        let mut world = self.world();
        let inode = world.names[name];
        world.inodes[inode].content[offset] ^= 0x10;
        world.inodes[inode].durable[offset] ^= 0x10;
    }

    /// A file's content.
    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let world = self.world();
        world.inodes[world.names[name]].content.clone()
    }

    /// A disk with the same files, all of them durable.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::new(Chance::seeded(1));
        {
            let world = self.world();
            let mut other = copy.world();
            for (name, inode) in &world.names {
                let content = world.inodes[*inode].content.clone();
                let number = other.inodes.len();
                other.inodes.push(Inode { durable: content.clone(), content, pending: Vec::new() });
                other.names.insert(name.clone(), number);
            }
            other.durable_names = other.names.clone();
        }
        copy
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl World {
    /// One step that changes something. Answers what goes wrong with it.
    fn step(&mut self) -> io::Result<Option<Trouble>> {
        if self.stopped {
            return Err(io::Error::other("the machine has stopped"));
        }
        self.steps += 1;
        match self.trouble {
            Some((at, trouble)) if at <= self.steps => {
                self.trouble = None;
                match trouble {
                    Trouble::Full(steps) => self.full_until = self.steps + steps,
                    Trouble::Stop => self.stopped = true,
                    Trouble::Error | Trouble::Short | Trouble::Sync => {}
                }
                Ok(Some(trouble))
            }
            _ => Ok(None),
        }
    }

    fn change_names(&mut self, change: NameChange) -> io::Result<()> {
        match self.step()? {
            None | Some(Trouble::Full(_)) => {}
            Some(_) => return Err(io::Error::other("a change of names failed")),
        }
        change.apply(&mut self.names);
        self.name_changes.push(change);
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.world().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        let inode = world.inodes.len();
        world.inodes.push(Inode::default());
        world.change_names(NameChange::Create(name.to_owned(), inode))?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.world().find(name)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        world.find(from)?;
        world.change_names(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        world.find(name)?;
        world.change_names(NameChange::Remove(name.to_owned()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.world();
        let world = &mut *world;
        match world.step()? {
            None | Some(Trouble::Full(_)) => {}
            Some(_) => return Err(io::Error::other("a sync of the directory failed")),
        }
        for change in world.name_changes.drain(..) {
            change.apply(&mut world.durable_names);
        }
        Ok(())
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let world = self.disk.world();
        let rest = world.inodes[self.inode].content.get(offset as usize..).unwrap_or_default();
        let bytes = rest.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        let trouble = world.step()?;
        let end = offset as usize + bytes.len();
        let grows = end.saturating_sub(world.inodes[self.inode].content.len());
        let used: usize = world.names.values().map(|inode| world.inodes[*inode].content.len()).sum();
        let is_full = grows > 0 && (world.steps < world.full_until || used + grows > world.capacity);
        let written = match trouble {
            Some(Trouble::Short | Trouble::Stop) => world.chance.below(bytes.len() + 1),
            Some(Trouble::Error | Trouble::Sync) => 0,
            _ if is_full => world.inodes[self.inode].content.len().saturating_sub(offset as usize),
            _ => bytes.len(),
        };
        let inode = &mut world.inodes[self.inode];
        put(&mut inode.content, offset as usize, &bytes[..written]);
        inode.pending.push((offset as usize, bytes[..written].to_vec()));
        match trouble {
            _ if is_full => Err(io::ErrorKind::StorageFull.into()),
            None | Some(Trouble::Full(_)) => Ok(()),
            Some(trouble) => Err(io::Error::other(format!("a write failed: {trouble:?}"))),
        }
    }

    fn sync(&self) -> io::Result<()> {
        while self.disk.1.load(Ordering::Acquire) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let mut world = self.disk.world();
        let trouble = world.step()?;
        let keep = match trouble {
            None | Some(Trouble::Full(_)) => true,
            Some(Trouble::Stop) => return Err(io::Error::other("the machine has stopped")),
            Some(_) => false,
        };
        let world = &mut *world;
        let inode = &mut world.inodes[self.inode];
        for (offset, bytes) in std::mem::take(&mut inode.pending) {
            if keep || world.chance.below(2) == 0 {
                put(&mut inode.durable, offset, &bytes);
            }
        }
        if keep { Ok(()) } else { Err(io::Error::other("a sync failed")) }
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.world().inodes[self.inode].content.len() as u64)
    }
}
