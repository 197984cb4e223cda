//! Opens the account of a person with a new key, and creates the account where it is the first.
//!
//! Whoever calls this has verified the person: an issuer's token, or the app's backend. The balance of an anonymous key
//! moves over with the account's creation and never again.

use super::accounts::{self, expiry};
use super::answer::{Answer, Refusal, json};
use super::{Local, caller};
use crate::api;
use crate::outbox::event::{AppEvent, EventData};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::app_event::AppEventType;
use crate::rules::carry::Carry;
use crate::rules::config::{CarryOver, Group};
use crate::rules::date::rfc3339;
use crate::rules::entry::{ANONYMOUS, Founding, Join, Joined};
use crate::rules::issued_key::{IssuedKey, KeyId, KeySource};
use crate::rules::person::PersonId;
use crate::store::name::{AccountName, KeyName};
use crate::store::people::{self, Issued, Leads};
use crate::store::tenants::Tenant;
use crate::tables::Secret;
use std::net::IpAddr;

/// What a refresh token of Apple's is sealed for.
pub(super) const APPLE_TOKEN: &str = "apple/refresh-token";

/// Hex digits of a label, by which usage records name an account. It is drawn at random and deleted with the account, so
/// that nothing leads from its records to the person any more.
const LABEL_DIGITS: usize = 12;

/// Most identities that lead to one account, besides the one that it began with.
const MAX_IDENTITIES: usize = 20;
/// Characters of a key that lists show.
const SHOWN_OF_A_KEY: usize = 10;

/// Person that an issuer vouches for.
#[derive(Clone, Debug)]
pub(crate) struct Person<'a> {
    /// `google`, `apple` or `oidc:<name>`.
    pub kind: &'a str,
    /// The issuer's one name, whichever spelling its token had.
    pub issuer: &'a str,
    /// `sub` of the token, 1 to 255 characters.
    pub subject: &'a str,
    /// Group of the account, which exists.
    pub group: &'a str,
    pub token: TokenNote,
    /// Apple's, with which its token is revoked when the account ends.
    pub refresh_token: Option<Secret>,
}

/// ID token that the person was verified by: it may create one account.
#[derive(Clone, Debug)]
pub(crate) struct TokenNote {
    /// What the token is known again by.
    pub fingerprint: String,
    /// End of the time in which it is taken.
    pub expires: Millis,
}

/// Signs a person in. `sent`: the key that came with the request. The balance of an anonymous one moves over, the
/// account of a person's is linked with this identity.
pub(crate) async fn sign_in(
    local: &Local,
    tenant: &Tenant,
    person: &Person<'_>,
    sent: Option<KeyName>,
    address: IpAddr,
) -> Result<Answer, Refusal> {
    let id = PersonId::derive(
        tenant.id.as_str(),
        person.kind,
        person.issuer,
        person.subject,
    );
    let identity = AccountName::person(&id);
    let is_temp = |key: &&KeyName| key.as_str().starts_with("temp_");
    if let Some(key) = sent.as_ref().filter(|key| !is_temp(key)) {
        link(local, tenant, &identity, key, address).await?;
    }
    let user_id = id.to_string();
    let secrets = &local.tenants.secrets;
    let refresh_token = person.refresh_token.as_ref();
    let opening = Opening {
        account: identity,
        user_id: &user_id,
        group: Some(person.group),
        source: KeySource::SignIn,
        bounds: KeyBounds {
            life: Some(local.settings.accounts.sign_in_ttl.into()),
            ..KeyBounds::default()
        },
        token: Some((person.token.fingerprint.clone(), person.token.expires)),
        temp: sent.as_ref().filter(is_temp),
        apple: refresh_token
            .and_then(|token| secrets.seal(&tenant.id, APPLE_TOKEN, token.expose())),
    };
    let opened = open(local, tenant, opening).await?;
    let answer = api::SignedIn {
        api_key: opened.key.as_str().to_owned(),
        user_id: opened.account.part().to_owned(),
        tokens_left: opened.left,
        group: opened.group,
        created: opened.created,
        carried_over: opened.carried,
    };
    Ok(json(200, &answer))
}

/// Links an identity to the account of the key that was sent. Identities are never linked by e-mail.
async fn link(
    local: &Local,
    tenant: &Tenant,
    identity: &AccountName,
    key: &KeyName,
    address: IpAddr,
) -> Result<(), Refusal> {
    let found = caller::find(local, tenant, key, address).await?;
    caller::check_manager(&found)?;
    let linked = local.store.identities(&found.account).await?;
    if linked.len() >= MAX_IDENTITIES && !linked.iter().any(|known| known == identity.part()) {
        let why = format!("The account has {MAX_IDENTITIES} identities besides its first");
        return Err(Refusal::Conflict(why));
    }
    match people::link(&*local.store, identity, &found.account).await? {
        true => Ok(()),
        false => Err(Refusal::Conflict(
            "This identity has an account of its own, or belongs to another one".to_owned(),
        )),
    }
}

/// A key that is wanted, and the account that it is to open.
pub(super) struct Opening<'a> {
    pub account: AccountName,
    /// What the answer calls the person.
    pub user_id: &'a str,
    /// Group of the account, if it is created now; `None`: it must exist.
    pub group: Option<&'a str>,
    pub source: KeySource,
    pub bounds: KeyBounds,
    /// ID token that the person was verified by: its hash, and when it ends.
    pub token: Option<(String, Millis)>,
    /// Anonymous key whose balance moves over.
    pub temp: Option<&'a KeyName>,
    /// Refresh token of Apple's sign-in, sealed.
    pub apple: Option<String>,
}

/// What a new key may do, and until when.
#[derive(Clone, Default)]
pub(super) struct KeyBounds {
    pub name: Option<String>,
    pub life: Option<Millis>,
    pub models: Option<Vec<String>>,
    pub addresses: Option<Vec<String>>,
    pub tokens_max: Option<Tokens>,
}

pub(super) struct Opened {
    pub key: KeyName,
    pub account: AccountName,
    pub created: bool,
    pub left: Tokens,
    pub group: String,
    pub carried: Tokens,
    pub expires_at: Option<String>,
}

/// Returns the group of an account that may be created, or why it cannot be.
pub(super) fn group_of<'a>(tenant: &'a Tenant, name: &str) -> Result<&'a Group, Refusal> {
    tenant.config.groups.get(name).ok_or_else(|| {
        Refusal::Forbidden(format!(
            "This tenant has no group {name}, which these people belong to"
        ))
    })
}

/// Opens an account with a new key.
pub(super) async fn open(
    local: &Local,
    tenant: &Tenant,
    opening: Opening<'_>,
) -> Result<Opened, Refusal> {
    let key = KeyName::generate("user_");
    let founding = match opening.group {
        Some(group) => Some(founding(local, tenant, &opening, group).await?),
        None => None,
    };
    let (temp, life, user_id) = (opening.temp, opening.bounds.life, opening.user_id);
    let account = opening.account.clone();
    let entry = local.store.key_names().of(&key);
    let join = join(tenant, &key, &entry, opening, founding);
    let leads = Leads {
        tenant: &tenant.id,
        layout: local.settings.accounts.layout,
    };
    let Issued { account, joined } =
        people::issue(&*local.store, leads, &account, &key, &join).await?;
    let Joined::Done {
        created,
        left,
        group,
        carry,
        ended,
    } = joined
    else {
        return Err(refused(&joined));
    };
    let ended: Vec<KeyId> = ended.iter().map(IssuedKey::id).collect();
    if !ended.is_empty() {
        // Ignored: they are refused from now on; only their calls in flight might go on.
        let _ = local.revocations.announce(&ended).await;
    }
    if created {
        tell_created(local, tenant, &account, user_id, &group, left);
    }
    let mut opened = Opened {
        key,
        account,
        created,
        left,
        group,
        carried: Tokens::ZERO,
        expires_at: life.map(expiry),
    };
    if let (Some(carry), Some(temp)) = (carry.filter(|_| created), temp) {
        carry_over(local, tenant, &mut opened, temp, carry).await;
    }
    Ok(opened)
}

/// Tells the app of a new account.
fn tell_created(
    local: &Local,
    tenant: &Tenant,
    account: &AccountName,
    user_id: &str,
    group: &str,
    left: Tokens,
) {
    let event = AppEvent {
        kind: AppEventType::UserCreated,
        mark: format!("{}:{}", account.part(), accounts::now().0),
        data: EventData {
            account: Some(account.part().to_owned()),
            user_id: Some(user_id.to_owned()),
            group: Some(group.to_owned()),
            tokens_left: Some(left),
            ..EventData::default()
        },
    };
    local.outbox.send(tenant, event);
}

fn join(
    tenant: &Tenant,
    key: &KeyName,
    entry: &AccountName,
    opening: Opening<'_>,
    founding: Option<Founding>,
) -> Join {
    let bounds = opening.bounds;
    Join {
        tenant: tenant.id.to_string(),
        id: key.id(),
        key: IssuedKey {
            source: opening.source,
            name: bounds.name,
            start: key.as_str().chars().take(SHOWN_OF_A_KEY).collect(),
            entry: entry.as_str().to_owned(),
            created: accounts::now(),
            expires: None,
            models: bounds.models,
            addresses: bounds.addresses,
            tokens_max: bounds.tokens_max,
            founded: false,
            used: None,
        },
        life: bounds.life,
        founding,
        identity: None,
        apple: opening.apple,
    }
}

fn refused(joined: &Joined) -> Refusal {
    match joined {
        Joined::TooManyKeys => {
            let most = KeySource::Made.most();
            Refusal::Conflict(format!("The account has {most} keys; revoke one first"))
        }
        // The token has created an account that was deleted since.
        Joined::Replayed => Refusal::SignInRefused,
        Joined::Absent | Joined::Done { .. } => Refusal::UnknownKey,
    }
}

/// Returns how an account of `group` begins.
async fn founding(
    local: &Local,
    tenant: &Tenant,
    opening: &Opening<'_>,
    group: &str,
) -> Result<Founding, Refusal> {
    let tokens = group_of(tenant, group)?.tokens;
    let record = serde_json::json!({
        "userId": opening.user_id,
        "createdAt": rfc3339(accounts::now()),
        "tokensLeft": tokens,
        "tenantId": tenant.id.as_str(),
        "group": group,
        "label": &uuid::Uuid::new_v4().simple().to_string()[..LABEL_DIGITS],
    });
    let carry = match opening.temp {
        Some(temp) => carry_from(local, tenant, temp).await?,
        None => None,
    };
    Ok(Founding {
        record: record.to_string(),
        token: opening.token.clone(),
        carry,
    })
}

/// Returns the account of an anonymous key of this tenant, and the most that moves from it. `None`: nothing does.
async fn carry_from(
    local: &Local,
    tenant: &Tenant,
    temp: &KeyName,
) -> Result<Option<(String, Tokens)>, Refusal> {
    let Some(anonymous) = tenant.config.groups.get(ANONYMOUS) else {
        return Ok(None);
    };
    local.leases.give_back(temp).await?;
    let found = local.store.find(temp, &tenant.id, &tenant.groups).await?;
    let found = found.filter(|found| {
        found.standing.group == ANONYMOUS
            && found.standing.issued.is_none()
            && temp.as_str().starts_with("temp_")
    });
    let most = Tokens::new(match tenant.config.auth.carry_over {
        CarryOver::All => anonymous.tokens,
        CarryOver::None => return Ok(None),
        CarryOver::Most(most) => most.min(anonymous.tokens),
    });
    Ok(found.map(|found| (found.account.as_str().to_owned(), most)))
}

/// Moves what is free over at once. What requests in flight hold follows when they are settled.
async fn carry_over(
    local: &Local,
    tenant: &Tenant,
    opened: &mut Opened,
    temp: &KeyName,
    carry: Carry,
) {
    local.leases.invalidate(temp);
    let step = local.carries.step(&tenant.id, &opened.account, &carry);
    let is_over = match step.await {
        Ok(Some(step)) => {
            opened.carried = step.sum;
            opened.left = step.left;
            step.is_over
        }
        // The account notes what it still awaits.
        _ => false,
    };
    if !is_over {
        local.carries.finish(&tenant.id, &opened.account, carry);
    }
}
