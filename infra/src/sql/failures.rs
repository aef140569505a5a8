//! What the caller can do about a failure of an engine.

use diesel::result::{DatabaseErrorKind as Kind, Error};
use fanfare_domain::StoreError;

/// How Postgres begins or words what is wrong with a value itself. Its codes cannot be seen here, and its texts may be translated:
/// what is not recognised may pass later.
const BAD_VALUES: [&str; 6] = [
    "invalid byte sequence for encoding",
    "invalid input syntax",
    "value too long",
    "out of range",
    "index row",
    "row is too big",
];

/// What the caller can do about a failure of the engine. What a row refers to may have gone just now: the same call will say so.
pub(super) fn failure(error: Error) -> StoreError {
    match error {
        Error::DatabaseError(Kind::UniqueViolation, _) => StoreError::Conflict,
        Error::DatabaseError(
            Kind::CheckViolation | Kind::NotNullViolation | Kind::ExclusionViolation | Kind::RestrictViolation,
            told,
        ) => StoreError::Rejected(told.message().to_owned()),
        Error::DatabaseError(Kind::Unknown, told) if BAD_VALUES.iter().any(|bad| told.message().contains(bad)) => {
            StoreError::Rejected(told.message().to_owned())
        }
        Error::SerializationError(problem) => StoreError::Rejected(problem.to_string()),
        Error::DeserializationError(problem) => StoreError::Corrupt(problem.to_string()),
        other => StoreError::unavailable(other),
    }
}

/// The same for an append, where nothing that is there already is an answer.
pub(super) fn append_failure(error: Error) -> StoreError {
    match error {
        Error::DatabaseError(Kind::UniqueViolation, told) => StoreError::Rejected(told.message().to_owned()),
        other => failure(other),
    }
}

/// Whether a row was refused only because no partition of its table takes it: the one violation of a check that names no constraint.
pub(super) fn lacks_partition(error: &Error) -> bool {
    matches!(error, Error::DatabaseError(Kind::CheckViolation, told) if told.constraint_name().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: Kind, message: &str) -> StoreError {
        failure(Error::DatabaseError(kind, Box::new(message.to_owned())))
    }

    #[test]
    fn only_what_can_never_pass_is_rejected() {
        for (kind, message) in [
            (Kind::CheckViolation, "new row violates check constraint \"small\""),
            (Kind::Unknown, "invalid byte sequence for encoding \"UTF8\": 0x00"),
            (Kind::Unknown, "bigint out of range"),
            (Kind::Unknown, "index row size 2800 exceeds btree version 4 maximum 2704 for index \"messages_by_id\""),
        ] {
            assert!(matches!(told(kind, message), StoreError::Rejected(_)), "{message}");
        }
        for (kind, message) in [
            (Kind::Unknown, "canceling statement due to statement timeout"),
            (Kind::Unknown, "the database system is in recovery mode"),
            (Kind::Unknown, "could not extend file \"base/1/2\": No space left on device"),
            (Kind::Unknown, "sorry, too many clients already"),
            (Kind::Unknown, "deadlock detected"),
            (Kind::ReadOnlyTransaction, "cannot execute INSERT in a read-only transaction"),
            (Kind::SerializationFailure, "could not serialize access"),
            (Kind::UnableToSendCommand, "connection closed"),
            (Kind::ForeignKeyViolation, "is not present in table \"apps\""),
        ] {
            assert!(matches!(told(kind, message), StoreError::Unavailable(_)), "{message}");
        }
        assert!(matches!(told(Kind::UniqueViolation, "duplicate key"), StoreError::Conflict));
    }
}
