//! The gateway as a library: built from its dependencies without binding sockets or starting threads.

use crate::harness::http::Response;
use crate::harness::{Client, TempDir};
use crate::store::contract::{keeping, open, runtime};
use async_trait::async_trait;
use resullm::host_port::HostPort;
use resullm::rules::account::{
    Admit, Ask, Claim, Credit, Credited, Grant, Orphans, Report, Reported, Settlement,
};
use resullm::rules::amount::{Millis, Tokens};
use resullm::rules::carry::Taken;
use resullm::rules::entry::{Amend, Caller, Erased, Groups, Join};
use resullm::rules::issued_key::{IssuedKey, KeyId};
use resullm::rules::payments::book::{Paid, Pay, PaymentBook};
use resullm::rules::posting::Statement;
use resullm::rules::tenant::TenantId;
use resullm::rules::window::Window;
use resullm::serve::build::{Deps, create_app};
use resullm::serve::life;
use resullm::serve::sockets::Sockets;
use resullm::settings::{Listener, Settings};
use resullm::store::listed::{List, ListPlace, Listed};
use resullm::store::name::{
    AccountName, AnswerKey, KeyName, KeyNames, LogName, TenantText, TicketName,
};
use resullm::store::{
    Agreement, AnswerCache, Clock, Configs, Counted, Directory, Durability, Follower, Found,
    FoundAnswer, Joining, KeyAdmission, Led, Ledger, LedgerPage, ListedKey, Mint, NewAnswer,
    Outcome, People, Purchases, Put, Received, Store, Tickets, UsageLog,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Runtime;

/// A real store that panics on demand with this message.
struct Defective {
    store: Arc<dyn Store>,
    panics: AtomicBool,
    words: &'static str,
}

#[async_trait]
impl Ledger for Defective {
    async fn mint(&self, mint: &Mint) -> Outcome<bool> {
        assert!(!self.panics.load(Ordering::SeqCst), "{}", self.words);
        self.store.mint(mint).await
    }

    async fn find(
        &self,
        key: &KeyName,
        tenant: &TenantId,
        groups: &Groups,
    ) -> Outcome<Option<Found>> {
        self.store.find(key, tenant, groups).await
    }

    async fn find_account(
        &self,
        account: &AccountName,
        tenant: &TenantId,
        groups: &Groups,
    ) -> Outcome<Option<Found>> {
        self.store.find_account(account, tenant, groups).await
    }

    async fn claims(&self, account: &AccountName) -> Outcome<Vec<Claim>> {
        self.store.claims(account).await
    }

    async fn admit(
        &self,
        key: &KeyName,
        caller: Caller<'_>,
        ask: &Admit<'_>,
    ) -> Outcome<KeyAdmission> {
        self.store.admit(key, caller, ask).await
    }

    async fn renew(
        &self,
        account: &AccountName,
        id: &str,
        known: Tokens,
        ttl: Millis,
    ) -> Outcome<bool> {
        self.store.renew(account, id, known, ttl).await
    }

    async fn settle(
        &self,
        account: &AccountName,
        id: &str,
        used: Tokens,
        retry: bool,
        note: &str,
    ) -> Outcome<Option<Settlement>> {
        self.store.settle(account, id, used, retry, note).await
    }

    async fn resettle(
        &self,
        account: &AccountName,
        id: &str,
        used: Tokens,
        note: &str,
    ) -> Outcome<Option<Settlement>> {
        self.store.resettle(account, id, used, note).await
    }

    async fn release(&self, key: &KeyName, id: &str) -> Outcome<()> {
        self.store.release(key, id).await
    }

    async fn lease(&self, account: &AccountName, ask: &Ask<'_>) -> Outcome<Option<Grant>> {
        self.store.lease(account, ask).await
    }

    async fn report(
        &self,
        account: &AccountName,
        report: &Report<'_>,
    ) -> Outcome<Option<Reported>> {
        self.store.report(account, report).await
    }

    async fn credit(
        &self,
        account: &AccountName,
        credit: &Credit<'_>,
    ) -> Outcome<Option<Credited>> {
        self.store.credit(account, credit).await
    }

    async fn statement(
        &self,
        account: &AccountName,
        groups: &Groups,
        key: &str,
        page: LedgerPage,
    ) -> Outcome<Option<Statement>> {
        self.store.statement(account, groups, key, page).await
    }

    async fn amend(&self, account: &AccountName, amend: &Amend<'_>) -> Outcome<Option<Credited>> {
        self.store.amend(account, amend).await
    }

    async fn regroup(&self, account: &AccountName, group: &str) -> Outcome<bool> {
        self.store.regroup(account, group).await
    }

    async fn revoke(&self, key: &KeyName) -> Outcome<bool> {
        self.store.revoke(key).await
    }

    async fn count(&self, what: &str, bounds: &[(&str, Window)]) -> Outcome<Counted> {
        self.store.count(what, bounds).await
    }

    fn key_names(&self) -> &KeyNames {
        self.store.key_names()
    }

    async fn agree_on_secret(&self, id: Option<&str>) -> Outcome<Agreement> {
        self.store.agree_on_secret(id).await
    }

    fn generation(&self) -> Option<u64> {
        self.store.generation()
    }
}

#[async_trait]
impl People for Defective {
    async fn join(&self, account: &AccountName, join: &Join) -> Outcome<Joining> {
        self.store.join(account, join).await
    }

    async fn lead(&self, name: &AccountName, text: &str, life: Option<Millis>) -> Outcome<Led> {
        self.store.lead(name, text, life).await
    }

    async fn unlead(&self, name: &AccountName) -> Outcome<bool> {
        self.store.unlead(name).await
    }

    async fn keys(&self, account: &AccountName) -> Outcome<Option<Vec<ListedKey>>> {
        self.store.keys(account).await
    }

    async fn announce_revoked(&self, ids: &[KeyId]) -> Outcome<()> {
        self.store.announce_revoked(ids).await
    }

    async fn revoked_since(&self, last: Option<&str>) -> Outcome<(String, Vec<KeyId>)> {
        self.store.revoked_since(last).await
    }

    async fn person(&self, account: &AccountName, tenant: &TenantId) -> Outcome<Option<String>> {
        self.store.person(account, tenant).await
    }

    async fn identities(&self, account: &AccountName) -> Outcome<Vec<String>> {
        self.store.identities(account).await
    }

    async fn drop_key(
        &self,
        account: &AccountName,
        id: KeyId,
    ) -> Outcome<Option<(IssuedKey, Tokens)>> {
        self.store.drop_key(account, id).await
    }

    async fn take(
        &self,
        from: &AccountName,
        tenant: &TenantId,
        to: &AccountName,
        most: Tokens,
    ) -> Outcome<Option<Taken>> {
        self.store.take(from, tenant, to, most).await
    }

    async fn receive(
        &self,
        account: &AccountName,
        from: &str,
        total: Tokens,
        is_over: bool,
    ) -> Outcome<Option<Received>> {
        self.store.receive(account, from, total, is_over).await
    }

    async fn erase(&self, account: &AccountName, life: Millis) -> Outcome<Option<Erased>> {
        self.store.erase(account, life).await
    }
}

#[async_trait]
impl Configs for Defective {
    async fn config(&self, tenant: &TenantId) -> Outcome<Option<Arc<str>>> {
        self.store.config(tenant).await
    }

    async fn seed_config(&self, tenant: &TenantId, text: &str) -> Outcome<bool> {
        self.store.seed_config(tenant, text).await
    }

    async fn replace_config(
        &self,
        tenant: &TenantId,
        expected: Option<&str>,
        text: &str,
    ) -> Outcome<Put> {
        self.store.replace_config(tenant, expected, text).await
    }

    async fn delete_tenant(&self, tenant: &TenantId) -> Outcome<bool> {
        self.store.delete_tenant(tenant).await
    }

    async fn tenants(&self) -> Outcome<Vec<TenantId>> {
        self.store.tenants().await
    }

    async fn tenant_text(&self, tenant: &TenantId, which: TenantText) -> Outcome<Option<String>> {
        self.store.tenant_text(tenant, which).await
    }

    async fn replace_tenant_text(
        &self,
        tenant: &TenantId,
        which: TenantText,
        expected: Option<&str>,
        text: &str,
    ) -> Outcome<Put> {
        let replaced = self
            .store
            .replace_tenant_text(tenant, which, expected, text);
        replaced.await
    }

    fn follow(&self, follower: Arc<dyn Follower>) {
        self.store.follow(follower);
    }
}

#[async_trait]
impl Purchases for Defective {
    async fn payments(&self, account: &AccountName) -> Outcome<Option<PaymentBook>> {
        self.store.payments(account).await
    }

    async fn pay(&self, account: &AccountName, pay: &Pay) -> Outcome<Option<Paid>> {
        self.store.pay(account, pay).await
    }
}

#[async_trait]
impl Directory for Defective {
    async fn enter(&self, tenant: &TenantId, list: List, entries: &[Listed]) -> Outcome<()> {
        self.store.enter(tenant, list, entries).await
    }

    async fn strike(&self, tenant: &TenantId, list: List, entries: &[Listed]) -> Outcome<()> {
        self.store.strike(tenant, list, entries).await
    }

    async fn listed(
        &self,
        tenant: &TenantId,
        list: List,
        after: Option<ListPlace>,
        most: usize,
    ) -> Outcome<Vec<Listed>> {
        self.store.listed(tenant, list, after, most).await
    }

    async fn listed_by_id(
        &self,
        tenant: &TenantId,
        list: List,
        id: KeyId,
    ) -> Outcome<Option<Listed>> {
        self.store.listed_by_id(tenant, list, id).await
    }

    async fn count_listed(&self, tenant: &TenantId, list: List) -> Outcome<u64> {
        self.store.count_listed(tenant, list).await
    }

    async fn has(&self, name: &AccountName) -> Outcome<bool> {
        self.store.has(name).await
    }

    async fn stored_text(&self, name: &AccountName) -> Outcome<Option<String>> {
        self.store.stored_text(name).await
    }

    async fn account_names(&self) -> Outcome<Vec<AccountName>> {
        self.store.account_names().await
    }

    async fn is_listed_whole(&self) -> Outcome<bool> {
        self.store.is_listed_whole().await
    }

    async fn note_listed_whole(&self) -> Outcome<()> {
        self.store.note_listed_whole().await
    }
}

#[async_trait]
impl UsageLog for Defective {
    async fn record(&self, log: &LogName, records: &[String]) -> Outcome<()> {
        self.store.record(log, records).await
    }

    async fn recorded(&self, log: &LogName, since: Millis, most: usize) -> Outcome<Vec<String>> {
        self.store.recorded(log, since, most).await
    }

    async fn purge(&self) -> Outcome<u64> {
        self.store.purge().await
    }
}

#[async_trait]
impl Tickets for Defective {
    async fn issue(&self, ticket: &TicketName, text: &str, life: Millis) -> Outcome<bool> {
        self.store.issue(ticket, text, life).await
    }

    async fn redeem(&self, ticket: &TicketName) -> Outcome<Option<String>> {
        self.store.redeem(ticket).await
    }
}

#[async_trait]
impl AnswerCache for Defective {
    async fn find_answer(&self, tenant: &TenantId, key: &AnswerKey) -> Outcome<FoundAnswer> {
        self.store.find_answer(tenant, key).await
    }

    async fn keep_answer(
        &self,
        tenant: &TenantId,
        key: &AnswerKey,
        answer: &NewAnswer<'_>,
    ) -> Outcome<bool> {
        self.store.keep_answer(tenant, key, answer).await
    }

    async fn forget_answers_of(&self, tenant: &TenantId, owner: &str) -> Outcome<u64> {
        self.store.forget_answers_of(tenant, owner).await
    }

    async fn forget_answers(&self, tenant: &TenantId) -> Outcome<u64> {
        self.store.forget_answers(tenant).await
    }
}

#[async_trait]
impl Durability for Defective {
    async fn flush(&self) -> Outcome<()> {
        self.store.flush().await
    }

    async fn ready(&self) -> Outcome<()> {
        self.store.ready().await
    }

    fn is_up(&self) -> bool {
        self.store.is_up()
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

/// An app with such a store on its own socket. The directory and the runtime keep it alive.
fn app(words: &'static str) -> (TempDir, Runtime, Client, Arc<Defective>) {
    let dir = TempDir::new();
    let runtime = runtime();
    let (client, defective) = runtime.block_on(async {
        let url = format!("embedded:{}", dir.path().display());
        let store = open(&url, keeping(Orphans::Known, Clock::Store)).await;
        let tenant = TenantId::parse("abc").unwrap();
        store
            .seed_config(&tenant, r#"{"user_groups":{"anonymous":{"tokens":5}}}"#)
            .await
            .unwrap();
        let defective = Arc::new(Defective {
            store,
            panics: AtomicBool::new(false),
            words,
        });
        let mut settings = Settings::default();
        let address = HostPort::parse("127.0.0.1:0").unwrap();
        settings.server.listen = vec![Listener::at(address)];
        let settings = Arc::new(settings);
        let app = create_app(Deps {
            settings: settings.clone(),
            store: defective.clone(),
            journal: resullm::store::journal::Journal::none(),
        });
        // The build opened no socket; they are opened here.
        let sockets = Sockets::open(&settings, Vec::new()).unwrap();
        let address = sockets.addresses().next().unwrap();
        tokio::spawn(life::serve(app, sockets, None));
        (Client::new(address), defective)
    });
    (dir, runtime, client, defective)
}

/// Response to a request that panics with this message.
pub fn panicked(words: &'static str) -> Response {
    let (_dir, runtime, client, defective) = app(words);
    defective.panics.store(true, Ordering::SeqCst);
    let answer = client.request("POST", "/abc/auth/anonymous").send();
    assert_eq!(answer.status, 500);
    runtime.block_on(defective.close());
    answer
}

#[test]
fn panic_ends_one_request_only() {
    let (_dir, runtime, client, defective) = app("a defect, on purpose");
    let mut connection = client.connect();
    assert_eq!(
        connection
            .request("POST", "/abc/auth/anonymous")
            .send()
            .status,
        200
    );

    defective.panics.store(true, Ordering::SeqCst);
    let panicked = connection.request("POST", "/abc/auth/anonymous").send();
    assert_eq!(
        (panicked.status, panicked.text().as_str()),
        (500, r#"{"error":"Internal Server Error"}"#)
    );
    assert_eq!(panicked.header("content-type"), Some("application/json"));

    defective.panics.store(false, Ordering::SeqCst);
    assert_eq!(
        client.request("POST", "/abc/auth/anonymous").send().status,
        200
    );
    runtime.block_on(defective.close());
}
