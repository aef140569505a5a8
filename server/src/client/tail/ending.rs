//! What the end of a connection means: come back at once, after a pause, or not at all.

use fanfare_protocol::{ErrorCode, WireError, errors::Retry};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error, protocol::CloseFrame};

use crate::{
    client::{answers, endpoint::Endpoint, trust},
    problem::Problem,
};

/// How a connection ended, where it was not for good.
#[derive(Debug)]
pub(super) enum Ended {
    /// The reader went away, or a signal came.
    Stopped,
    /// It was cut.
    Cut {
        /// When to come back; after a backoff where it is not told.
        at_once: Option<Instant>,
        /// Why, for people.
        told: String,
    },
}

/// The connection was cut, and a backoff follows.
pub(super) fn cut(told: impl Into<String>) -> Ended {
    Ended::Cut { at_once: None, told: told.into() }
}

/// What a refusal means for the connection, by the retry rule of its code. A token that nobody can replace does not become good again.
pub(super) fn refused(error: &WireError, has_fixed_token: bool) -> Result<Ended, Problem> {
    let known = ErrorCode::from_name(&error.code);
    let is_over = has_fixed_token && known == Some(ErrorCode::TokenExpired);
    match known.map(|code| code.row().retry) {
        Some(Retry::Backoff | Retry::Now) | None if !is_over => Ok(cut(format!("{}: {}", error.code, error.message))),
        _ => Err(problem(error)),
    }
}

/// What a close means, by the range of its code; `error` is what the server said before it.
pub(super) fn closed(
    frame: Option<&CloseFrame>,
    error: Option<WireError>,
    at_once: Option<Instant>,
    has_fixed_token: bool,
) -> Result<Ended, Problem> {
    let code = frame.map(|frame| u16::from(frame.code));
    let told = match (&error, code) {
        (Some(error), _) => format!("{}: {}", error.code, error.message),
        (None, Some(code)) => format!("closed with {code}"),
        (None, None) => "the connection was cut".to_owned(),
    };
    match (code, error) {
        (Some(4000..4100), Some(error)) => Err(problem(&error)),
        (Some(code @ 4000..4100), None) => Err(match by_close(code) {
            Some(known) => Problem::new(format!("{}: {}", known.name(), known.row().title), known.row().remedy),
            None => Problem::new(told, "docs/errors.md lists the close codes."),
        }),
        (Some(4200..4300), _) => Ok(Ended::Cut { at_once, told }),
        (_, Some(error)) => refused(&error, has_fixed_token),
        (_, None) => Ok(cut(told)),
    }
}

/// What a handshake that came to nothing means.
pub(super) fn handshake_failed(endpoint: &Endpoint, error: Error) -> Result<Ended, Problem> {
    match error {
        Error::Http(answer)
            if answer.status().is_client_error() && !matches!(answer.status().as_u16(), 408 | 425 | 429) =>
        {
            Err(answers::problem(answer.status().as_u16(), answer.body().as_deref().unwrap_or_default()))
        }
        Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            match trust::refused(&error.to_string()) {
                Some(refused) => Err(refused),
                None => Ok(cut(format!("{endpoint} cannot be reached: {error}"))),
            }
        }
        Error::Http(answer) => Ok(cut(format!("{endpoint} answered {}", answer.status()))),
        error => Ok(cut(format!("{endpoint} cannot be reached: {error}"))),
    }
}

fn by_close(close: u16) -> Option<ErrorCode> {
    ErrorCode::ALL.iter().copied().find(|code| code.row().close == Some(close))
}

fn problem(error: &WireError) -> Problem {
    let remedy = error.remedy.as_deref().unwrap_or("docs/errors.md says what to do about each code.");
    Problem::new(format!("{}: {}", error.code, error.message), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(code: u16) -> CloseFrame {
        CloseFrame { code: code.into(), reason: "".into() }
    }

    fn said(code: ErrorCode) -> WireError {
        WireError { code: code.name().into(), message: "m".into(), remedy: Some("r".into()), retry_after_ms: None }
    }

    #[test]
    fn the_range_of_a_close_code_decides_whether_to_come_back() {
        let now = Instant::now();
        assert!(closed(Some(&close(4011)), Some(said(ErrorCode::BadKey)), Some(now), false).is_err());
        let unknown = closed(Some(&close(4012)), None, Some(now), false).unwrap_err();
        assert!(unknown.what.contains("bad_token"), "{unknown}");
        assert!(matches!(closed(Some(&close(4122)), None, Some(now), false), Ok(Ended::Cut { at_once: None, .. })));
        assert!(matches!(closed(Some(&close(4200)), None, Some(now), false), Ok(Ended::Cut { at_once: Some(_), .. })));
        assert!(matches!(closed(Some(&close(1001)), None, Some(now), false), Ok(Ended::Cut { at_once: None, .. })));
        assert!(matches!(closed(None, None, Some(now), false), Ok(Ended::Cut { at_once: None, .. })));
    }

    #[test]
    fn an_expired_token_ends_it_only_where_no_fresh_one_can_be_made() {
        assert!(refused(&said(ErrorCode::TokenExpired), true).is_err());
        assert!(refused(&said(ErrorCode::TokenExpired), false).is_ok());
        assert!(refused(&said(ErrorCode::Forbidden), false).is_err());
        assert!(refused(&said(ErrorCode::Unavailable), true).is_ok());
    }
}
