//! `tombolo up`: a manifest becomes running services behind their gateway, and stays so while files change.
//! The parts: `plan` says what the manifest asks for, `doors` are the listeners of declared calls, `screen` is
//! what people see, `api` is what other commands ask.

mod api;
mod consumers;
pub(crate) mod doctor;
mod doors;
mod gauges;
mod house;
mod overview;
mod pages;
mod plan;
mod printer;
pub(crate) mod run_file;
mod screen;
mod streams;
mod tap;
mod traces;

pub(crate) use house::House;
pub(crate) use overview::overview;
pub(crate) use plan::{Plan, has_errors, read_manifest};
pub(crate) use screen::Screen;
