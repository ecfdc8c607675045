//! Errors in one line, for logs and cases.

/// An error with all its causes in one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("bake bread")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("light the oven")]
    struct Inner(#[source] std::fmt::Error);

    #[test]
    fn every_cause_is_named() {
        let line = chain(&Outer(Inner(std::fmt::Error)));
        assert_eq!(line, format!("bake bread: light the oven: {}", std::fmt::Error));
    }
}
