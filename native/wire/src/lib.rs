//! The wire path of Tidegate: whatever touches each byte of a call.
//!
//! `call` is the way of one call from top to bottom; each step is a module of its own, in this order:
//! [`listen`], [`authenticate`], [`route`], [`decide`], [`admit`], [`schema`], [`protect`], [`cache`], [`dial`], [`attach`],
//! [`forward`], [`respond`], [`record`]. [`snapshot`] is what a call is decided by, [`lease`] what it is authenticated with at the
//! provider, [`trace`] what is gathered of it and [`event`] what is kept, [`error`] how it can be refused. [`engine`] starts and stops.
#![forbid(unsafe_code)]

pub mod admit;
pub mod agreement;
pub mod attach;
pub mod authenticate;
pub mod cache;
pub mod decide;
pub mod detect;
pub mod dial;
pub mod dialect;
pub mod echo;
pub mod forward;
pub mod hooks;
pub mod listen;
pub mod observe;
pub mod protect;
pub mod record;
pub mod reserve;
pub mod respond;
pub mod route;
pub mod schema;
pub mod shared;
pub mod shed;
pub mod sign;
pub mod subject;
pub mod xml;

pub mod body;
pub mod call;
pub mod class;
pub mod engine;
pub mod error;
pub mod event;
pub mod explain;
pub mod fetch;
pub mod graphql;
pub mod headers;
pub mod identity;
pub mod json;
pub mod lease;
pub mod origin;
pub mod ratelimit;
pub mod simulate;
pub mod snapshot;
pub mod trace;
pub mod worker;
