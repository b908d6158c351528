// SPDX-License-Identifier: GPL-2.0

//! What a source file imports from other files of its crate.
//!
//! It looks at tokens and not at `use` lines only, as a path may stand anywhere.

use anyhow::{anyhow, Result};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;

/// The paths that begin with `crate::` in a source, without that, up to two names of each: `base::text`. The
/// paths that begin with `super::` are those of `room`.
pub fn of(source: &str, room: &str) -> Result<BTreeSet<String>> {
    let tokens: TokenStream = source.parse().map_err(|e| anyhow!("no Rust: {e}"))?;
    let mut paths = BTreeSet::new();
    walk(tokens, room, &mut paths);
    Ok(paths)
}

fn walk(tokens: TokenStream, room: &str, paths: &mut BTreeSet<String>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) if word == "crate" => follow(&tokens[at + 1..], &[], paths),
            TokenTree::Ident(word) if word == "super" => {
                follow(&tokens[at + 1..], &[room.into()], paths)
            }
            TokenTree::Group(group) => walk(group.stream(), room, paths),
            _ => (),
        }
    }
}

/// Notes the path that begins with `start` and goes on with these tokens, or each that does.
fn follow(tokens: &[TokenTree], start: &[String], paths: &mut BTreeSet<String>) {
    if start.len() == 2 {
        paths.insert(start.join("::"));
        return;
    }
    let is_colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == ':');
    if !is_colon(tokens.first()) || !is_colon(tokens.get(1)) {
        return;
    }
    match tokens.get(2) {
        Some(TokenTree::Ident(name)) => branch(name, &tokens[3..], start, paths),
        Some(TokenTree::Group(group)) => {
            let inner: Vec<_> = group.stream().into_iter().collect();
            for part in
                inner.split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ','))
            {
                if let Some((TokenTree::Ident(name), rest)) = part.split_first() {
                    branch(name, rest, start, paths);
                }
            }
        }
        _ => (),
    }
}

fn branch(
    name: &proc_macro2::Ident,
    rest: &[TokenTree],
    start: &[String],
    paths: &mut BTreeSet<String>,
) {
    let mut path = start.to_vec();
    path.push(name.to_string());
    follow(rest, &path, paths);
}

#[cfg(test)]
mod tests {
    use super::of;

    fn paths(source: &str) -> Vec<String> {
        of(source, "nlm").unwrap().into_iter().collect()
    }

    #[test]
    fn takes_what_is_imported() {
        assert_eq!(paths("use crate::base::text::Text;"), ["base::text"]);
        assert_eq!(
            paths("use crate::nfs4::{nfsd::NfsdNet, held};"),
            ["nfs4::held", "nfs4::nfsd"]
        );
        assert_eq!(
            paths("use crate::{base::raw, nlm::{host, locks::Held}};"),
            ["base::raw", "nlm::host", "nlm::locks"]
        );
        assert_eq!(paths("use super::host::Host;"), ["nlm::host"]);
    }

    #[test]
    fn takes_paths_anywhere() {
        assert_eq!(
            paths("fn f() { g!(crate::base::clock::now()) }"),
            ["base::clock"]
        );
    }

    #[test]
    fn takes_nothing_else() {
        assert!(paths(
            "//! [`crate::base::text`]\nuse kernel::sync::Arc; fn f() { \"crate::a::b\"; }"
        )
        .is_empty());
        assert!(paths("pub(crate) fn f(x: crate::Local) {}").is_empty());
    }
}
