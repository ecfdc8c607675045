//! What bodies of records have in common: names that a path may repeat, and rules that are broken.

use std::borrow::Cow;

use contracts::{Id, Invalid};
use service_kit::{Problem, broken};
use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

/// The most broken rules that one refusal tells of, since a body may hold a great number.
const BROKEN_MAX: usize = 20;

/// The name that a line of an import must have in this field, since it has no path.
pub fn named(given: Option<&str>, field: &str) -> Result<Id, Problem> {
    let missing = || Invalid::new("missing-field", format!("missing field `{field}`"));
    let id = given.ok_or_else(missing).and_then(Id::parse);
    id.map_err(|invalid| Problem::refused(&format!("/{field}"), invalid))
}

/// A field that repeats what the path says must say the same.
pub fn same(given: Option<&str>, in_path: &Id, field: &str) -> Result<(), Problem> {
    if given.is_none_or(|given| given == in_path.as_str()) {
        return Ok(());
    }
    let reason = format!("must be {in_path} as in the path, or be left out");
    let problem = Problem::invalid(format!("{field} {reason}"));
    Err(problem.field(format!("/{field}"), "not-as-in-path", reason))
}

/// Whether a text is an id, as the validator of bodies asks.
pub fn check_id(raw: &str) -> Result<(), ValidationError> {
    Id::parse(raw).map(drop).map_err(broken)
}

/// Collects the rules that a body breaks, for its `Validate`.
#[derive(Debug, Default)]
pub struct BrokenRules {
    found: ValidationErrors,
    count: usize,
}

impl BrokenRules {
    /// Notes the rule at this step of the body, if it is broken; an empty step is the whole.
    pub fn check(&mut self, step: &str, outcome: Result<(), Invalid>) {
        if let Some(invalid) = self.counted(outcome) {
            add(&mut self.found, step, invalid);
        }
    }

    /// The same for a step below another one, of which only the last is kept.
    pub fn check_below(&mut self, outer: &str, step: &str, outcome: Result<(), Invalid>) {
        if let Some(invalid) = self.counted(outcome) {
            let mut found = ValidationErrors::new();
            add(&mut found, step, invalid);
            let kind = ValidationErrorsKind::Struct(Box::new(found));
            self.found.errors_mut().insert(Cow::Owned(outer.to_owned()), kind);
        }
    }

    /// Whether nothing is broken.
    pub fn finish(self) -> Result<(), ValidationErrors> {
        if self.found.is_empty() { Ok(()) } else { Err(self.found) }
    }

    fn counted(&mut self, outcome: Result<(), Invalid>) -> Option<Invalid> {
        let invalid = outcome.err()?;
        self.count += 1;
        (self.count <= BROKEN_MAX).then_some(invalid)
    }
}

fn add(found: &mut ValidationErrors, step: &str, invalid: Invalid) {
    let kind = found.errors_mut().entry(Cow::Owned(step.to_owned()));
    let kind = kind.or_insert_with(|| ValidationErrorsKind::Field(Vec::new()));
    if let ValidationErrorsKind::Field(rules) = kind {
        rules.push(broken(invalid));
    }
}
