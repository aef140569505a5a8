//! Query strings: unknown parameters are passed over, wrong values of known ones are refused.

use std::{collections::HashMap, str::FromStr};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};

use super::Extracting;
use crate::problems::ApiError;

/// The parameters of a request.
pub(crate) struct Query(HashMap<String, Vec<String>>);

impl Query {
    /// A parameter as text.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.0.get(name).map(Vec::as_slice) {
            None => Ok(None),
            Some([value]) => Ok(Some(value)),
            Some(_) => Err(wrong(name, "is given more than once")),
        }
    }

    /// A parameter that is a whole number.
    pub fn number<N: FromStr>(&self, name: &str) -> Result<Option<N>, ApiError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Ok(Some(number)),
            _ => Err(wrong(name, "is not a whole number in range")),
        }
    }

    /// `limit`: 1 to `most`, `usual` where it is absent.
    pub fn limit(&self, usual: u32, most: u32) -> Result<u32, ApiError> {
        match self.number("limit")? {
            None => Ok(usual),
            Some(limit) if (1..=most).contains(&limit) => Ok(limit),
            Some(_) => Err(wrong("limit", &format!("is 1 to {most}"))),
        }
    }
}

/// A known parameter with a wrong value.
pub(crate) fn wrong(name: &str, detail: &str) -> ApiError {
    ApiError::field(format!("/{name}"), detail)
}

impl FromRequest for Query {
    type Error = actix_web::Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        Box::pin(async move {
            let pairs = pairs.map_err(|_| ApiError::field("", "the query string cannot be read"))?;
            let mut query: HashMap<String, Vec<String>> = HashMap::new();
            for (name, value) in pairs.into_inner() {
                query.entry(name).or_default().push(value);
            }
            Ok(Query(query))
        })
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    async fn query(text: &str) -> Query {
        let request = TestRequest::with_uri(&format!("/?{text}")).to_http_request();
        Query::extract(&request).await.unwrap()
    }

    #[actix_web::test]
    async fn known_parameters_are_read_strictly() {
        assert_eq!(query("limit=7&later=x").await.limit(100, 1_000).unwrap(), 7);
        assert_eq!(query("").await.limit(100, 1_000).unwrap(), 100);
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=%2B1",
            "limit=",
            "limit=1.0",
            "limit=1&limit=2",
            "limit=99999999999",
        ] {
            assert_eq!(query(bad).await.limit(100, 1_000).unwrap_err().fields[0].pointer, "/limit", "{bad}");
        }
    }
}
