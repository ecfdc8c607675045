//! Decisions that must survive crashes, repeats and disorder, as pure state machines.
//!
//! [`relay`] decides who numbers changes, when, and what is published next; [`reader`] what a
//! consumer does with what it hears; [`cache`] which value is still current; [`fresh`] up to which
//! moment all is known to have taken effect; [`retry`] how long to wait after a failure. It
//! promises that the same inputs always lead to the same decision: time and randomness come in as
//! input, nothing waits, and nothing is read or written. So whatever order of crashes, losses and
//! repeats is worth fearing can be tried out by the hundred thousand, on the very code that ships.
//! It keeps nothing durable: what must outlive the process is stored by the shells that carry its
//! decisions out.
//!
//! ```
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use contracts::Pn;
//! use protocol::relay::{Answer, Step, Window};
//!
//! // The broker has everything up to 7, and 9 was sealed just now.
//! let mut window = Window::new(Pn::try_from(7)?);
//! let (now, head) = (Duration::ZERO, Pn::try_from(9)?);
//! let step = window.step(now, head, Answer::Passed);
//! assert_eq!(step, Step::Publish { after: Pn::try_from(7)? });
//! // Until its outcome is known nothing else of this stream is published.
//! assert_eq!(window.step(now, head, Answer::Passed), Step::Wait(None));
//! # Ok(())
//! # }
//! # example().expect("numbers above 0");
//! ```

pub mod cache;
pub mod fresh;
pub mod reader;
pub mod relay;
pub mod retry;
