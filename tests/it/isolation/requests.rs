//! The operations of the OpenAPI document, and how a request for one is made up.

use reqwest::Method;
use serde_json::Value;

use crate::harness::tenants::Tenant;

/// An operation as the document describes it.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    /// With its parameters: `/v1/apps/{app}`.
    pub(crate) path: String,
    /// What the document says of it.
    pub(crate) document: Value,
}

impl Operation {
    /// Every operation that the server offers.
    pub(crate) fn all(document: &Value) -> Vec<Self> {
        let mut all = Vec::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
                all.push(Self { method, path: path.clone(), document: operation.clone() });
            }
        }
        assert!(!all.is_empty(), "the document has no operations");
        all
    }

    /// The names in the path's braces.
    pub(crate) fn parameters(&self) -> Vec<&str> {
        self.path.split(['{', '}']).skip(1).step_by(2).collect()
    }

    /// The path with its parameters filled in.
    pub(crate) fn fill(&self, value: impl Fn(&str) -> String) -> String {
        let parts = self.path.split(['{', '}']).enumerate();
        let filled: String = parts.map(|(at, part)| if at % 2 == 0 { part.to_owned() } else { value(part) }).collect();
        // It is asked about a client.
        if filled.ends_with("/delivery") { format!("{filled}?client=ann") } else { filled }
    }

    /// Whether the document's security offers that scheme.
    pub(crate) fn takes(&self, scheme: &str) -> bool {
        let schemes = self.document["security"].as_array().expect("every operation says its security");
        schemes.iter().any(|offered| offered.get(scheme).is_some())
    }

    /// Whether anybody may call it.
    pub(crate) fn is_public(&self) -> bool {
        let schemes = self.document["security"].as_array().expect("every operation says its security");
        schemes.is_empty() || schemes.iter().any(|offered| offered.as_object().is_some_and(serde_json::Map::is_empty))
    }

    /// The document's own example of a body.
    pub(crate) fn example(&self) -> Value {
        self.document["requestBody"]["content"]["application/json"]["example"].clone()
    }

    /// Calls it at a path, with a credential as bearer, and the example as body.
    pub(crate) fn request(&self, tenant: &Tenant, path: &str, bearer: Option<&str>) -> reqwest::RequestBuilder {
        let request = tenant.request(self.method.clone(), path);
        let request = bearer.into_iter().fold(request, |request, bearer| request.bearer_auth(bearer));
        match self.example() {
            Value::Null => request,
            body => request.json(&body),
        }
    }
}
