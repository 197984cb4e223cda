//! Objects of one type, found by id and listed in the order in which they were made.
//!
//! Objects are replaced and never removed.

use super::records::{
    CheckoutSession, Customer, Dispute, Invoice, Payment, Portal, Price, Refund, Subscription,
};
use std::collections::HashMap;

/// Something that has an id.
pub(super) trait Identified {
    fn id(&self) -> &str;
}

/// Objects of one type in the order in which they were made.
pub(super) struct Collection<T> {
    rows: Vec<T>,
    places: HashMap<String, usize>,
}

impl<T> Default for Collection<T> {
    fn default() -> Collection<T> {
        Collection {
            rows: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl<T: Identified> Collection<T> {
    /// Adds an object, or replaces the one of the same id.
    pub(super) fn insert(&mut self, row: T) {
        if let Some(known) = self.find_mut(row.id()) {
            *known = row;
            return;
        }
        self.places.insert(row.id().to_owned(), self.rows.len());
        self.rows.push(row);
    }

    pub(super) fn find(&self, id: &str) -> Option<&T> {
        self.rows.get(*self.places.get(id)?)
    }

    pub(super) fn find_mut(&mut self, id: &str) -> Option<&mut T> {
        self.rows.get_mut(*self.places.get(id)?)
    }

    /// Objects in the order in which they were made.
    pub(super) fn oldest_first(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.rows.iter()
    }

    pub(super) fn newest_first(&self) -> impl Iterator<Item = &T> {
        self.rows.iter().rev()
    }
}

impl Identified for Price {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Identified for Customer {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Identified for CheckoutSession {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Identified for Subscription {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Identified for Invoice {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Identified for Payment {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Identified for Refund {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Identified for Dispute {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Identified for Portal {
    fn id(&self) -> &str {
        &self.id
    }
}
