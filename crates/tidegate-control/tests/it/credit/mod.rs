//! Who may take bytes next: against a model that counts everything anew, and in every interleaving of small pipelines.

mod explore;
mod model;
