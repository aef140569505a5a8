//! What a revocation reaches, and what it lets go.

use proptest::prelude::*;

use super::*;

const NOON: Timestamp = Timestamp(1_700_000_000_000);

fn app(name: &str) -> AppId {
    AppId::parse(&format!("app_{name}")).unwrap()
}

fn client(name: &str) -> ClientName {
    ClientName::parse(name).unwrap()
}

/// Ann, by the token `t` of the key `k`, issued at noon, let in when 5 was the last number.
fn ann() -> Standing {
    Standing {
        tenant: TenantId::parse("ten_a").unwrap(),
        app: app("a"),
        voucher: Voucher::Key(KeyId::parse("fk_k").unwrap()),
        client: Some(client("ann")),
        token_id: Some("t".into()),
        issued_at: Some(NOON),
        as_of: Revision(5),
    }
}

fn row(revision: u64, subject: Subject) -> Revocation {
    Revocation { revision: Revision(revision), subject, at: NOON, until: Timestamp(NOON.0 + 1_000) }
}

fn list(rows: Vec<Revocation>) -> RevocationList {
    let mut list = RevocationList::default();
    let latest = rows.iter().map(|row| row.revision).max().unwrap_or_default();
    list.take(rows, latest, NOON);
    list
}

#[test]
fn a_caller_is_reached_by_token_client_key_app_and_tenant() {
    let key = KeyId::parse("fk_k").unwrap();
    for (subject, cut) in [
        (Subject::Token(app("a"), "t".into()), Some(Cut::Token)),
        (Subject::Token(app("a"), "u".into()), None),
        (Subject::Token(app("b"), "t".into()), None),
        (Subject::Client(app("a"), client("ann")), Some(Cut::Client)),
        (Subject::Client(app("b"), client("ann")), None),
        (Subject::Client(app("a"), client("bob")), None),
        (Subject::Connections(app("a"), client("ann")), Some(Cut::Connections)),
        (Subject::Key(app("a"), key), Some(Cut::Key)),
        (Subject::Signer(app("a"), SignerId::parse("sig_k").unwrap()), None),
        (Subject::App(app("a")), Some(Cut::App)),
        (Subject::App(app("b")), None),
        (Subject::Tenant(TenantId::parse("ten_a").unwrap()), Some(Cut::Tenant)),
        (Subject::Tenant(TenantId::parse("ten_b").unwrap()), None),
    ] {
        let list = list(vec![row(6, subject.clone())]);
        assert_eq!(list.cut(&ann()), cut, "{subject:?}");
        assert_eq!(list.reach_after(Revision(5)).has(&ann()) && cut.is_some(), cut.is_some(), "{subject:?}");
        assert!(list.reach_after(Revision(6)).is_empty(), "{subject:?}");
    }
}

#[test]
fn a_token_that_was_issued_after_its_clients_revocation_is_good() {
    let list = list(vec![row(6, Subject::Client(app("a"), client("ann")))]);
    let issued = |ms: u64| Standing { issued_at: Some(Timestamp(ms)), ..ann() };
    assert_eq!(list.cut(&issued(NOON.0)), Some(Cut::Client));
    assert_eq!(list.cut(&issued(NOON.0 + 1)), None);
    assert_eq!(list.cut(&Standing { issued_at: None, ..ann() }), Some(Cut::Client));
    assert_eq!(list.client_cut_at(&app("a"), &client("ann")), Some(NOON));
}

#[test]
fn who_was_let_in_after_a_disconnection_or_a_change_of_the_app_stays() {
    let rows = vec![row(6, Subject::Connections(app("a"), client("ann"))), row(7, Subject::App(app("a")))];
    let list = list(rows);
    let let_in = |as_of: u64| Standing { as_of: Revision(as_of), ..ann() };
    assert_eq!(list.cut(&let_in(5)), Some(Cut::App));
    assert_eq!(list.cut(&let_in(6)), Some(Cut::App));
    assert_eq!(list.cut(&let_in(7)), None);
}

#[test]
fn a_newer_row_of_the_same_subject_takes_the_place_of_the_older() {
    let mut list = list(vec![row(6, Subject::Client(app("a"), client("ann")))]);
    let later = Timestamp(NOON.0 + 500);
    let again =
        Revocation { at: later, until: Timestamp(NOON.0 + 2_000), ..row(8, Subject::Client(app("a"), client("ann"))) };
    list.take(vec![again], Revision(9), NOON);
    assert_eq!((list.len(), list.revision()), (1, Revision(9)));
    list.take(Vec::new(), Revision(9), Timestamp(NOON.0 + 1_500));
    assert_eq!(list.client_cut_at(&app("a"), &client("ann")), Some(later));
}

#[test]
fn who_a_signer_vouches_for_goes_with_the_signer() {
    let (signer, other) = (SignerId::parse("sig_k").unwrap(), SignerId::parse("sig_l").unwrap());
    let by = |signer: &SignerId| Standing { voucher: Voucher::Signer(signer.clone()), ..ann() };
    let list = list(vec![row(6, Subject::Signer(app("a"), signer.clone()))]);
    assert_eq!((list.cut(&by(&signer)), list.cut(&by(&other))), (Some(Cut::Signer), None));
    assert!(list.reach_after(Revision(5)).has(&by(&signer)));
}

#[test]
fn what_an_earlier_read_brings_late_takes_nothing_back() {
    let ann = Subject::Client(app("a"), client("ann"));
    let later = Timestamp(NOON.0 + 500);
    let mut list = list(vec![Revocation { at: later, ..row(8, ann.clone()) }]);
    list.take(vec![row(6, ann)], Revision(7), NOON);
    assert_eq!((list.client_cut_at(&app("a"), &client("ann")), list.revision()), (Some(later), Revision(8)));
}

fn subjects() -> impl Strategy<Value = Subject> {
    let name = prop_oneof![Just("a"), Just("b")];
    (0..7, name.clone(), name).prop_map(|(kind, owner, of)| match kind {
        0 => Subject::Token(app(owner), of.into()),
        1 => Subject::Client(app(owner), client(of)),
        2 => Subject::Connections(app(owner), client(of)),
        3 => Subject::Key(app(owner), KeyId::parse(&format!("fk_{of}")).unwrap()),
        4 => Subject::App(app(owner)),
        5 => Subject::Signer(app(owner), SignerId::parse(&format!("sig_{of}")).unwrap()),
        _ => Subject::Tenant(TenantId::parse(&format!("ten_{owner}")).unwrap()),
    })
}

proptest! {
    #[test]
    fn what_is_over_leaves_nothing_behind_and_nothing_else_goes(
        rows in proptest::collection::vec((subjects(), 0_u64..100), 0..40),
        now in 0_u64..120,
    ) {
        let rows: Vec<_> = rows
            .into_iter()
            .zip(1..)
            .map(|((subject, until), number)| Revocation { until: Timestamp(until), ..row(number, subject) })
            .collect();
        let latest = Revision(rows.len() as u64);
        let mut all = RevocationList::default();
        all.take(rows.clone(), latest, Timestamp(0));
        // The last row of each subject stands.
        let mut standing: HashMap<Subject, Timestamp> = HashMap::new();
        for row in &rows {
            standing.insert(row.subject.clone(), row.until);
        }
        all.take(Vec::new(), latest, Timestamp(now));
        standing.retain(|_, until| *until > Timestamp(now));
        prop_assert_eq!(all.len(), standing.len());
        let found: HashSet<_> = all.in_order.values().map(|entry| entry.subject.clone()).collect();
        prop_assert_eq!(found, standing.into_keys().collect::<HashSet<_>>());
        all.take(Vec::new(), latest, Timestamp(1_000));
        prop_assert!(all.is_empty() && all.ends.is_empty() && all.apps.is_empty() && all.tenants.is_empty());
    }
}
