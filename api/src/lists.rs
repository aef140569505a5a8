//! Lists: a page of items, and the cursor of the next.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use fanfare_domain::stores::Page;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{extract::Query, problems::ApiError};

/// The most items that a page may be asked for.
const MOST_ITEMS: u32 = 100;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T: ToSchema> {
    /// The items, oldest first.
    pub items: Vec<T>,
    /// Given as `?next=`, it continues the list; `null` at its end.
    pub next: Option<String>,
}

impl<T: ToSchema> List<T> {
    /// A page of a list that was read whole. A cursor whose item is gone begins the list anew.
    pub fn part<R>(rows: Vec<R>, page: &Page, id: impl Fn(&R) -> &str, item: impl Fn(R) -> T) -> Self {
        let last = page.after.as_ref().and_then(|after| rows.iter().position(|row| id(row) == after));
        let rest = rows.into_iter().skip(last.map_or(0, |last| last + 1)).take(page.limit as usize);
        Self::page(rest.collect(), page, id, item)
    }

    /// A page of what was read for [`wanted`], which is one more than asked for if there is more.
    pub fn page<R>(mut rows: Vec<R>, page: &Page, id: impl Fn(&R) -> &str, item: impl Fn(R) -> T) -> Self {
        let most = page.limit as usize - 1;
        let more = rows.len() > most;
        rows.truncate(most);
        let next = rows.last().filter(|_| more).map(|last| BASE64_URL_SAFE_NO_PAD.encode(id(last)));
        Self { items: rows.into_iter().map(item).collect(), next }
    }
}

/// What `?limit=` and `?next=` ask for, and one item more.
pub(crate) fn wanted(query: &Query) -> Result<Page, ApiError> {
    let limit = query.limit(MOST_ITEMS, MOST_ITEMS)? + 1;
    let Some(cursor) = query.text("next")? else { return Ok(Page { after: None, limit }) };
    let after = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match after {
        Some(after) => Ok(Page { after: Some(after), limit }),
        None => Err(ApiError::field("/next", "is not the `next` of a list")),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{FromRequest, test::TestRequest};

    use super::*;

    async fn page(uri: &str) -> Result<Page, ApiError> {
        wanted(&Query::extract(&TestRequest::with_uri(uri).to_http_request()).await.unwrap())
    }

    #[actix_web::test]
    async fn a_list_that_was_read_whole_is_given_in_parts() {
        let list = || vec!["c".to_owned(), "a".to_owned(), "b".to_owned()];
        let first = List::part(list(), &page("/?limit=2").await.unwrap(), |id| id.as_str(), |id| id);
        assert_eq!(first.items, ["c", "a"]);
        let rest = page(&format!("/?limit=2&next={}", first.next.unwrap())).await.unwrap();
        let rest = List::part(list(), &rest, |id| id.as_str(), |id| id);
        assert_eq!((rest.items, rest.next), (vec!["b".to_owned()], None));
    }

    #[actix_web::test]
    async fn a_page_tells_where_the_next_begins_only_if_there_is_one() {
        let asked = page("/?limit=2").await.unwrap();
        let rows = |count: usize| ["a", "b", "c"].iter().take(count).map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let of = |count| List::page(rows(count), &asked, |id| id.as_str(), |id| id);
        assert_eq!((of(2).items.len(), of(2).next), (2, None));
        assert_eq!(of(3).items, ["a", "b"]);
        let next = page(&format!("/?next={}", of(3).next.unwrap())).await.unwrap();
        assert_eq!(next.after.as_deref(), Some("b"));
        assert_eq!(page("/?next=%25").await.unwrap_err().fields[0].pointer, "/next");
    }
}
