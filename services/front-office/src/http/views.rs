//! What the templates of `templates/` are given.

use askama::Template;
use fiorino_domain::notice::NoticeNumber;
use jiff::Timestamp;

use super::assets::{ASSETS, Assets};
use crate::{
    asked::{Asked, Form, Wrong},
    debt::{Debt, State},
    italian,
    site::Site,
};

/// A rendered page.
#[derive(Debug)]
pub(super) struct Page(pub(super) askama::Result<String>);

/// What every page has around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// `None`: the page belongs to no institution.
    pub(super) site: Option<&'a Site>,
    assets: &'static Assets,
}

/// The form as it is shown again.
#[derive(Debug, Default)]
struct Fields<'a> {
    code: &'a str,
    institution: &'a str,
    wrong: Wrong,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    frame: Frame<'a>,
    fields: Fields<'a>,
}

#[derive(Template)]
#[template(path = "form.html")]
struct FormPage<'a> {
    frame: Frame<'a>,
    fields: Fields<'a>,
    trouble: Option<Trouble>,
}

/// Why the form comes back though nothing in it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Of this number.
    Doubtful(NoticeNumber),
    Unknown,
}

#[derive(Template)]
#[template(path = "debt.html")]
struct DebtPage<'a> {
    frame: Frame<'a>,
    debt: &'a Debt,
    number: String,
    institution: String,
    cbill: &'a str,
    amount: String,
    due: Option<String>,
    attempt: Option<String>,
    now: String,
    again: String,
}

#[derive(Template)]
#[template(path = "how.html")]
struct How<'a> {
    frame: Frame<'a>,
}

#[derive(Template)]
#[template(path = "about.html")]
struct About<'a> {
    frame: Frame<'a>,
}

/// Something that cannot be shown, why, and what to do.
#[derive(Template)]
#[template(path = "sorry.html")]
struct Sorry<'a> {
    frame: Frame<'a>,
    title: &'static str,
    why: &'static str,
    remedy: String,
    again: Option<String>,
}

// === impl Frame ===

impl<'a> Frame<'a> {
    /// The institution's.
    pub(super) fn of(site: &'a Site) -> Self {
        Self::maybe(Some(site))
    }

    pub(super) fn maybe(site: Option<&'a Site>) -> Self {
        Self { site, assets: &ASSETS }
    }

    fn name(&self) -> &'a str {
        self.site.map_or("Pagamenti pagoPA", |site| &site.name)
    }

    /// Nothing can be paid to its institution any more: only notices of others are found.
    fn closed(&self) -> bool {
        self.site.is_some_and(|site| site.closed)
    }

    /// Whose notices visitors look for unless they say otherwise.
    fn institution(&self) -> &'a str {
        self.site.filter(|site| !site.closed).map_or("", |site| site.code.as_str())
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    fn blank(frame: Frame<'a>) -> Self {
        Self { institution: frame.institution(), ..Self::default() }
    }

    /// As he wrote them; an institution that he left out is the site's.
    fn again(frame: Frame<'a>, form: &'a Form, wrong: Wrong) -> Self {
        let institution = form.ente.as_deref().unwrap_or_else(|| frame.institution());
        Self { code: form.codice.as_deref().unwrap_or_default(), institution, wrong }
    }
}

// === impl FormPage, DebtPage ===

impl FormPage<'_> {
    /// The number that he is to look at again.
    fn doubtful(&self) -> Option<NoticeNumber> {
        match self.trouble {
            Some(Trouble::Doubtful(number)) => Some(number),
            _ => None,
        }
    }

    fn unknown(&self) -> bool {
        self.trouble == Some(Trouble::Unknown)
    }

    /// Something must be corrected.
    fn wrong(&self) -> bool {
        self.fields.wrong != Wrong::default()
    }
}

impl DebtPage<'_> {
    fn payable(&self) -> bool {
        self.debt.state == State::Payable
    }
}

fn render(template: &impl Template) -> Page {
    Page(template.render())
}

/// The institution's home.
pub(super) fn home(frame: Frame<'_>) -> Page {
    render(&Home { frame, fields: Fields::blank(frame) })
}

/// The form, with what is wrong in it.
pub(super) fn form(frame: Frame<'_>, form: &Form, wrong: Wrong) -> Page {
    render(&FormPage { frame, fields: Fields::again(frame, form, wrong), trouble: None })
}

/// The check digits do not fit.
pub(super) fn doubtful(frame: Frame<'_>, form: &Form, number: NoticeNumber) -> Page {
    let fields = Fields::again(frame, form, Wrong::default());
    render(&FormPage { frame, fields, trouble: Some(Trouble::Doubtful(number)) })
}

/// No such notice, draft, unknown institution, closed institution: all the same.
pub(super) fn unknown_notice(frame: Frame<'_>, form: &Form) -> Page {
    let fields = Fields::again(frame, form, Wrong::default());
    render(&FormPage { frame, fields, trouble: Some(Trouble::Unknown) })
}

/// A notice as it is now; `cbill` = the code by which home banking finds its institution, or empty.
pub(super) fn debt(frame: Frame<'_>, asked: Asked, debt: &Debt, cbill: &str, now: Timestamp) -> Page {
    let (number, institution) = (asked.number, asked.institution);
    render(&DebtPage {
        frame,
        debt,
        number: italian::notice_number(&number),
        institution: institution.to_string(),
        cbill,
        amount: italian::amount(debt.amount),
        due: debt.due.map(italian::day),
        attempt: debt.attempt_until.map(|until| italian::time(until, now)),
        now: italian::moment(now),
        again: address(&asked),
    })
}

/// How to pay, in general.
pub(super) fn how(frame: Frame<'_>) -> Page {
    render(&How { frame })
}

/// What the site does with data, and for whom it is made.
pub(super) fn about(frame: Frame<'_>) -> Page {
    render(&About { frame })
}

/// No institution has this host name.
pub(super) fn unknown_host() -> Page {
    render(&Sorry {
        frame: Frame::maybe(None),
        title: "Sito non trovato",
        why: "A questo indirizzo non c’è il portale dei pagamenti di nessun ente.",
        remedy: "Controlla l’indirizzo, oppure parti dal sito ufficiale dell’ente a cui devi pagare.".to_owned(),
        again: None,
    })
}

/// Two readers of the request could understand it differently.
pub(super) fn unclear() -> Page {
    render(&Sorry {
        frame: Frame::maybe(None),
        title: "Richiesta non valida",
        why: "La richiesta è arrivata in una forma che il sito non accetta. Non è un problema del tuo avviso.",
        remedy: "Riprova con un altro browser o da un’altra rete.".to_owned(),
        again: None,
    })
}

/// The institution's site has no such page.
pub(super) fn no_page(frame: Frame<'_>) -> Page {
    render(&Sorry {
        frame,
        title: "Pagina non trovata",
        why: "La pagina che cerchi non esiste o ha cambiato indirizzo.",
        remedy: "Torna alla pagina iniziale: da lì puoi cercare un avviso e vedere i servizi.".to_owned(),
        again: None,
    })
}

/// Tenant does not answer. With a form, he can try the same again.
pub(super) fn away(frame: Frame<'_>, form: Option<&Form>) -> Page {
    let asked = form.and_then(|form| match form.read() {
        crate::asked::Reading::Asked(asked) => Some(asked),
        _ => None,
    });
    render(&Sorry {
        frame,
        title: "Servizio non disponibile",
        why: "In questo momento non riusciamo a leggere gli avvisi. Non è un problema del tuo avviso né del codice che hai scritto.",
        remedy: "Riprova tra qualche minuto. Se hai fretta puoi pagare lo stesso presso banche, uffici postali e tabaccherie, \
                 con i codici scritti sull’avviso."
            .to_owned(),
        again: asked.as_ref().map(address),
    })
}

/// Too many requests from one address.
pub(super) fn limited(frame: Frame<'_>, seconds: u64) -> Page {
    let unit = if seconds == 1 { "secondo" } else { "secondi" };
    render(&Sorry {
        frame,
        title: "Troppe richieste",
        why: "Dalla tua rete sono arrivate molte richieste in poco tempo, e per proteggere gli avvisi di tutti le abbiamo fermate.",
        remedy: format!("Aspetta {seconds} {unit} e ricarica la pagina."),
        again: None,
    })
}

/// Where the same notice is looked up again: digits only, nothing to escape. He was sure before, so he is not asked twice.
fn address(Asked { number, institution }: &Asked) -> String {
    let again = format!("/avviso?codice={number}&ente={institution}");
    if number.check_digits_ok() { again } else { format!("{again}&conferma={number}") }
}
