//! What a person does with cases: list, look, assign, note, resolve. The same in every service that has them.
//!
//! ```text
//!  a service, in the transaction of its finding --insert--> cases <--state, owner-- Cases (gRPC), Retry of a service
//!                                                             |                        |
//!                                     Gauge (alarm) <---------+        case_event <----+  who, when, why
//! ```
//!
//! What is found, and how its case is named, belongs to the service: [`cases`](TABLES_DDL) has whose it is in the form of that service.
//! This crate reads the view `case_list`, in which every service shows the institution by its fiscal code, and writes by id the
//! columns that all have. Statements name no table of anybody else.

mod asked;
mod error;
mod gauge;
mod service;
pub mod store;

pub use error::{Error, Result};
pub use gauge::Gauge;
pub use service::Cases;

/// Table of what was done with cases: part of a migration of every service that has cases.
pub const EVENTS_DDL: &str = "\
create table case_event (
    case_id uuid        not null,
    id      bigint      not null generated always as identity,
    at      timestamptz not null,
    actor   text        not null,
    action  smallint    not null check (action between 1 and 5), -- proto CaseAction
    owner   text,
    note    text,
    constraint case_event_pkey primary key (case_id, id)
);
";

/// Tables of a service that knows institutions by their fiscal code: part of its migration. One that has another key for them has
/// the same columns under its key, and the same view.
pub const TABLES_DDL: &str = "\
create table cases (
    institution text        not null collate \"C\", -- fiscal code; empty = none of ours, or not to be read
    kind        text        not null collate \"C\", -- code of fiorino_domain::case
    key         text        not null collate \"C\", -- natural key within institution and kind: the same finding opens one case
    id          uuid        not null,
    state       smallint    not null default 1 check (state in (1, 2, 3)), -- proto CaseState
    owner       text,
    nav         text,
    receipt_id  text,
    detail      jsonb       not null,
    opened_at   timestamptz not null,
    constraint cases_pkey primary key (institution, kind, key)
);
create index cases_open on cases (kind, opened_at) where state <> 3;
create unique index cases_id on cases (id);
create index cases_waiting on cases (opened_at, id) where state <> 3;
create index cases_resolved on cases (opened_at, id) where state = 3;
create view case_list as
    select id, institution, kind, key, state, owner, nav, receipt_id, detail, opened_at from cases;
";
