//! Who leads: standby, leading or fenced.
//!
//! The lock keeps two relays from stealing the lead from each other for ever; the term, compared
//! inside the seal itself, is what keeps a relay that lost it from numbering anything.

use contracts::Term;

/// What a relay knows about its right to number changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    /// Another relay may lead: try to lock.
    Standby,
    /// This relay leads until a seal says otherwise.
    Leading {
        /// The number of the newest tick.
        n: i64,
        /// The snapshot that the newest tick read up to.
        s1: String,
        /// The term drawn at the takeover.
        term: Term,
    },
    /// Another relay took over: this session has nothing more to say.
    Fenced,
}

/// What the shell found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Another session holds the lock.
    Denied,
    /// The term was written into the tick row.
    TookOver {
        /// The number of the newest tick.
        n: i64,
        /// The snapshot that the newest tick read up to.
        s1: String,
        /// The term written.
        term: Term,
    },
    /// A tick came back.
    Ticked(Seal),
    /// The session ended, or what it did is unknown.
    Disconnected,
}

/// What a tick said about itself, read in its own snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Changes that became visible since the last tick.
    pub found: u64,
    /// The new number and snapshot, if it numbered them.
    pub sealed: Option<(i64, String)>,
    /// What it saw of the tick row and the server.
    pub standing: Standing,
}

/// Whether a tick may count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The tick row still held this relay's number and term.
    Mine,
    /// It did not.
    Lost,
    /// The server is no primary; a standby's snapshot lists no running transactions.
    NotPrimary,
    /// The snapshot is older than the last, as after a dump and restore.
    WentBack,
}

/// What the shell does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Try to lock, and take over with a fresh term if that works.
    TryLock,
    /// Tick.
    Tick,
    /// Nothing was found; what is known to be sealed is all there was.
    Idle,
    /// This many changes were numbered.
    Sealed(u64),
    /// End the session; a new one starts as standby.
    Disconnect,
    /// Do not number anything in this database until a person has looked.
    Refuse(Refusal),
}

/// Why a relay does not tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The server is not a primary.
    NotPrimary,
    /// Transaction ids went back: old segments would name other rows.
    WentBack,
}

impl Lease {
    /// What to do now.
    pub fn next(&self) -> Output {
        match self {
            Self::Standby => Output::TryLock,
            Self::Leading { .. } => Output::Tick,
            Self::Fenced => Output::Disconnect,
        }
    }

    /// Takes in what happened; answers what it means.
    pub fn step(&mut self, input: Input) -> Output {
        match input {
            Input::Denied | Input::Disconnected => {
                *self = Self::Standby;
                self.next()
            }
            Input::TookOver { n, s1, term } => {
                *self = Self::Leading { n, s1, term };
                self.next()
            }
            Input::Ticked(seal) => self.ticked(seal),
        }
    }

    fn ticked(&mut self, seal: Seal) -> Output {
        let Self::Leading { n, s1, .. } = self else { return self.next() };
        match (seal.standing, seal.sealed) {
            (Standing::NotPrimary, _) => {
                *self = Self::Standby;
                Output::Refuse(Refusal::NotPrimary)
            }
            (Standing::WentBack, _) => {
                *self = Self::Standby;
                Output::Refuse(Refusal::WentBack)
            }
            (Standing::Mine, Some(sealed)) => {
                (*n, *s1) = sealed;
                Output::Sealed(seal.found)
            }
            (Standing::Mine, None) if seal.found == 0 => Output::Idle,
            // Found but not sealed: somebody changed the tick row between this statement's
            // snapshot and its update.
            (Standing::Mine, None) | (Standing::Lost, _) => {
                *self = Self::Fenced;
                self.next()
            }
        }
    }
}

#[cfg(test)]
mod tests;
