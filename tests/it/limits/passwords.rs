//! Limits of log-ins and of wrong passwords: nobody guesses on, and nobody is locked out by strangers.

use reqwest::Method;
use serde_json::json;

use super::{expect_limited, with_api};
use crate::harness::tenants::{Answer, PASSWORD, Tenant};

/// Tries to log in from an address.
async fn log_in(tenant: &Tenant, email: &str, password: &str, address: &str) -> Answer {
    let request = tenant.request(Method::POST, "/v1/login").header("x-forwarded-for", address);
    Answer::of(request.json(&json!({"email": email, "password": password}))).await
}

#[actix_web::test]
async fn logins_are_limited_by_address() {
    let server = with_api("logins_per_minute = 3").await;
    let tenant = Tenant::sign_up(&server).await;
    for _ in 0..3 {
        assert_eq!(log_in(&tenant, &tenant.email, PASSWORD, "192.0.2.1").await.status, 200);
    }
    let refused = log_in(&tenant, &tenant.email, PASSWORD, "192.0.2.1").await;
    assert!(expect_limited(refused, "\"logins\";q=3;w=60") <= 20);
    assert_eq!(log_in(&tenant, &tenant.email, PASSWORD, "192.0.2.2").await.status, 200);
    tenant.is_served().await;
}

/// Guesses the password of a tenant's account wrongly.
async fn guess(tenant: &Tenant, address: &str) {
    log_in(tenant, &tenant.email, "a wrong guess", address).await.expect_problem(401, "bad_credentials");
}

#[actix_web::test]
async fn wrong_passwords_shut_out_where_they_come_from_and_nobody_else() {
    let server = with_api("password_tries_per_minute = 3").await;
    let (tenant, other) = (Tenant::sign_up(&server).await, Tenant::sign_up(&server).await);
    let shouted = format!(" {} ", tenant.email.to_uppercase());
    log_in(&tenant, &shouted, "a wrong guess", "192.0.2.1").await.expect_problem(401, "bad_credentials");
    guess(&tenant, "192.0.2.1").await;
    guess(&tenant, "192.0.2.1").await;
    let refused = log_in(&tenant, &tenant.email, PASSWORD, "192.0.2.1").await;
    assert!(expect_limited(refused, "\"passwords\";q=3;w=60") <= 20);
    assert_eq!(log_in(&tenant, &tenant.email, PASSWORD, "192.0.2.2").await.status, 200);
    assert_eq!(log_in(&other, &other.email, PASSWORD, "192.0.2.1").await.status, 200);
    tenant.is_served().await;
}

#[actix_web::test]
async fn wrong_passwords_of_an_account_are_limited_wherever_they_come_from() {
    let server = with_api("password_tries_per_minute = 1").await;
    let (tenant, other) = (Tenant::sign_up(&server).await, Tenant::sign_up(&server).await);
    for host in 1..=10 {
        guess(&tenant, &format!("192.0.2.{host}")).await;
    }
    let refused = log_in(&tenant, &tenant.email, PASSWORD, "192.0.2.11").await;
    assert!(expect_limited(refused, "\"accounts\";q=10;w=60") <= 6);
    assert_eq!(log_in(&other, &other.email, PASSWORD, "192.0.2.11").await.status, 200);
    tenant.is_served().await;
}

#[actix_web::test]
async fn sign_ups_log_ins_and_changes_of_the_password_do_not_lock_an_account() {
    let server = with_api("password_tries_per_minute = 2").await;
    let tenant = Tenant::sign_up(&server).await;
    let taken = json!({"email": tenant.email, "password": PASSWORD, "tenant": "Acme"});
    let sign_up = || tenant.request(Method::POST, "/v1/signup").json(&taken);
    Answer::of(sign_up()).await.expect_problem(409, "email_taken");
    expect_limited(Answer::of(sign_up()).await, "\"passwords\";q=2;w=60");
    let change = json!({"current_password": "a wrong guess", "new_password": "another password"});
    let change = async || tenant.control(Method::POST, "/v1/me/password", change.clone()).await;
    change().await.expect_problem(401, "bad_credentials");
    change().await.expect_problem(401, "bad_credentials");
    expect_limited(change().await, "\"passwords\";q=2;w=60");
    for _ in 0..25 {
        assert_eq!(log_in(&tenant, &tenant.email, PASSWORD, "192.0.2.1").await.status, 200);
    }
    tenant.is_served().await;
}
