//! Requests to the data plane, ready as bytes.

use serde_json::Value;

use crate::clients::Tenant;

/// A whole POST of a JSON body with a tenant's key; further headers each end with their line.
pub fn post(tenant: &Tenant, path: &str, headers: &str, body: &Value) -> Vec<u8> {
    let (authority, credential, body) = (tenant.authority(), tenant.credential(), body.to_string());
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {credential}\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
