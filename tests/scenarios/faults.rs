//! Faults while changes flow: afterwards all is as if there had been none, and each has shown that
//! it bit.

mod broker;
mod database;
mod deliveries;
mod drill;
mod network;
mod outside;
mod processes;
