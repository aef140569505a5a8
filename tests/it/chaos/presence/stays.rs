//! Stays: which member was connected to which gateway from when to when, and when something happened to a gateway. All times are of one clock.

/// For so long before and after, what happened to a gateway has to do with what is told of its members: a lease of 10 s, and the time until
/// somebody sees that it is over.
const AFTERMATH_MS: u64 = 15_000;

/// Which gateway, counted up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gateway(pub usize);

/// A time that may go on.
#[derive(Debug, Clone, Copy)]
struct Span {
    gateway: Gateway,
    from: u64,
    until: Option<u64>,
}

/// What is known of gateways and members.
#[derive(Debug, Default)]
pub struct Stays {
    /// Of each member, one after the other.
    members: Vec<Vec<Span>>,
    strikes: Vec<Span>,
    starved: Vec<u64>,
}

impl Stays {
    /// Of so many members.
    pub fn new(members: usize) -> Self {
        Self { members: vec![Vec::new(); members], ..Self::default() }
    }

    /// A member is in everywhere it wants to be.
    pub fn came(&mut self, member: usize, gateway: Gateway, at: u64) {
        self.members[member].push(Span { gateway, from: at, until: None });
    }

    /// A member's connection is lost.
    pub fn went(&mut self, member: usize, at: u64) {
        self.members[member].last_mut().into_iter().for_each(|stay| _ = stay.until.get_or_insert(at));
    }

    /// Something that its lease may not outlive happens to a gateway.
    pub fn struck(&mut self, gateway: Gateway, at: u64) {
        self.strikes.push(Span { gateway, from: at, until: None });
    }

    /// It is over.
    pub fn healed(&mut self, gateway: Gateway, at: u64) {
        let strikes = self.strikes.iter_mut().filter(|strike| strike.gateway == gateway);
        strikes.for_each(|strike| _ = strike.until.get_or_insert(at));
    }

    /// The machine was so busy that nobody was served.
    pub fn starved(&mut self, at: u64) {
        self.starved.push(at);
    }

    /// Whether a member was connected all the time up to then, and nothing happened to its gateway that would explain why it left.
    pub fn stayed_unharmed(&self, member: usize, at: u64) -> bool {
        let began = at.saturating_sub(AFTERMATH_MS);
        let stay =
            self.members[member].iter().find(|stay| stay.from <= began && stay.until.is_none_or(|until| until >= at));
        let harms = |strike: &Span, gateway| {
            strike.gateway == gateway && strike.from <= at && strike.until.is_none_or(|until| until >= began)
        };
        stay.is_some_and(|stay| !self.strikes.iter().any(|strike| harms(strike, stay.gateway)))
    }

    /// Whether the machine served nobody around then.
    pub fn was_starved(&self, at: u64) -> bool {
        self.starved.iter().any(|starved| starved.abs_diff(at) <= 2 * AFTERMATH_MS)
    }
}

#[test]
fn only_a_member_that_was_there_all_the_time_on_a_gateway_that_nothing_happened_to_stayed_unharmed() {
    let (here, there) = (Gateway(0), Gateway(1));
    let mut stays = Stays::new(1);
    assert!(!stays.stayed_unharmed(0, 50_000), "it never came");
    stays.came(0, here, 10_000);
    assert!(!stays.stayed_unharmed(0, 20_000), "it came a moment ago");
    assert!(stays.stayed_unharmed(0, 50_000));
    stays.struck(there, 40_000);
    assert!(stays.stayed_unharmed(0, 50_000), "that was another gateway");
    stays.struck(here, 60_000);
    assert!(stays.stayed_unharmed(0, 59_999) && !stays.stayed_unharmed(0, 60_000));
    stays.healed(here, 70_000);
    assert!(!stays.stayed_unharmed(0, 85_000) && stays.stayed_unharmed(0, 85_001));
    stays.went(0, 90_000);
    assert!(stays.stayed_unharmed(0, 90_000) && !stays.stayed_unharmed(0, 90_001));
    stays.starved(100_000);
    assert!(stays.was_starved(90_001) && !stays.was_starved(50_000));
}
