//! The registered [`Follower`]s of tenant configs, and whether the store reports changes at present.

use super::Follower;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

#[derive(Default)]
pub(crate) struct Followers(Mutex<FollowerState>);

#[derive(Default)]
struct FollowerState {
    following: bool,
    list: Vec<Arc<dyn Follower>>,
}

impl Followers {
    fn state(&self) -> MutexGuard<'_, FollowerState> {
        self.0.lock()
    }

    /// Registers a follower and tells it at once whether changes are reported.
    pub fn add(&self, follower: Arc<dyn Follower>) {
        let mut state = self.state();
        follower.following(state.following);
        state.list.push(follower);
    }

    pub fn changed(&self, tenant: &str) {
        self.state()
            .list
            .iter()
            .for_each(|follower| follower.changed(tenant));
    }

    pub fn all_changed(&self) {
        self.state()
            .list
            .iter()
            .for_each(|follower| follower.all_changed());
    }

    pub fn following(&self, live: bool) {
        let mut state = self.state();
        state.following = live;
        state
            .list
            .iter()
            .for_each(|follower| follower.following(live));
    }
}
