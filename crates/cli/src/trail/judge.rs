//! How far a change is at one follower, in a word and in a sentence.

use contracts::Pn;

use super::{State, pruned};
use crate::answers::{Case, CopyTrail, SourceTrail, TopicStatus};

/// How far the change is at a follower that answers.
pub(super) fn judge(
    source: Option<&SourceTrail>,
    copy: &CopyTrail,
    status: &TopicStatus,
    head: Option<Pn>,
) -> (State, Option<String>) {
    let Some(source) = source else {
        let held = copy.held.as_ref();
        let held = held.map_or("nothing".to_owned(), |held| format!("version {}", held.version));
        let says = format!("holds {held}; the relay cannot say what is newest");
        return (State::Unknown, Some(says));
    };
    let held = copy.held.as_ref().map(|held| held.version);
    if held.is_some_and(|held| held >= source.version) {
        return noticed(source, copy);
    }
    if let (Some(position), Some(pn)) = (copy.position, source.pn)
        && position < pn
    {
        let head = head.unwrap_or(pn);
        let behind = head.get() - position.get();
        let says = format!("at pn {position} of {head}, {behind} behind");
        return (State::Behind, Some(format!("{says}{}", trouble(copy, status))));
    }
    if let Some(case) = &copy.case {
        let Case { id, kind, reason } = case;
        return (State::Case, Some(format!("set aside as case {id} ({kind}): {reason}")));
    }
    let trouble = trouble(copy, status);
    if source.pn.is_none() && !pruned(source) {
        return (State::Behind, Some(format!("its number is yet to come{trouble}")));
    }
    if copy.position.is_none() {
        return (State::Behind, Some(format!("has yet to hear of the stream{trouble}")));
    }
    let holds = held.map_or("nothing of it".to_owned(), |held| format!("version {held}"));
    let version = source.version;
    (State::Missing, Some(format!("holds {holds}, not version {version}{trouble}")))
}

/// The copy holds it: have its sinks noticed?
fn noticed(source: &SourceTrail, copy: &CopyTrail) -> (State, Option<String>) {
    let late = copy.sinks.iter().filter(|sink| sink.dirty == Some(true));
    let late: Vec<_> = late.map(|sink| sink.sink.as_str()).collect();
    if !late.is_empty() {
        return (State::Dirty, Some(format!("{} has yet to notice it", late.join(" and "))));
    }
    let newer = copy.held.as_ref().map(|held| held.version).filter(|held| *held > source.version);
    let says = match (newer, copy.outcome.as_deref(), copy.via.as_deref()) {
        (Some(newer), ..) => Some(format!("holds version {newer} already")),
        (None, Some("stale"), _) => {
            Some("held this version already when its number came".to_owned())
        }
        (None, _, Some("snapshot")) => Some("loaded with a rebuild, not followed".to_owned()),
        (None, _, None) => Some("holds it; when it came is known no longer".to_owned()),
        (None, ..) => None,
    };
    (State::Arrived, says)
}

/// What stands in the way of a copy, if anything does.
fn trouble(copy: &CopyTrail, status: &TopicStatus) -> String {
    let phase = match copy.phase.as_str() {
        "serving" => None,
        "diverged" => Some("stands still, since its source has another past".to_owned()),
        "new" => Some("was never loaded".to_owned()),
        _ => Some("is being loaded".to_owned()),
    };
    let complaint = status.error.clone().or_else(|| status.complaint.clone());
    let told: Vec<String> = phase.into_iter().chain(complaint).collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join(": ")) }
}
