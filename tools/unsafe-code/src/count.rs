// SPDX-License-Identifier: GPL-2.0

//! Counts the unsafe code of a source file.
//!
//! It looks at tokens and not at a syntax tree, as what a macro is given, or will make, is unsafe
//! code as well.

use anyhow::{anyhow, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::BTreeMap;

/// What a file has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Unsafe blocks, and the promises `unsafe(...)` in a macro's arguments.
    pub blocks: usize,
    /// Unsafe functions.
    pub functions: usize,
    /// Unsafe implementations of traits.
    pub impls: usize,
    /// `SAFETY:` comments.
    pub comments: usize,
    /// `# Safety` sections.
    pub sections: usize,
    /// Unsafe blocks by the name of the function that they are in; those of no function have "".
    pub within: BTreeMap<String, usize>,
}

impl Counts {
    /// Counts what is in a file's text.
    pub fn of(source: &str) -> Result<Self> {
        let tokens: TokenStream = source.parse().map_err(|e| anyhow!("no Rust: {e}"))?;
        let mut counts = Counts::default();
        counts.walk(tokens, "");
        for line in source.lines().map(str::trim_start) {
            counts.comments += usize::from(line.starts_with("// SAFETY: "));
            counts.sections += usize::from(line == "/// # Safety");
        }
        Ok(counts)
    }

    /// Is there any?
    pub fn any(&self) -> bool {
        self.blocks + self.functions + self.impls > 0
    }

    /// Does each have its comment or section?
    pub fn is_documented(&self) -> bool {
        self.comments == self.blocks + self.impls && self.sections == self.functions
    }

    fn walk(&mut self, tokens: TokenStream, within: &str) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        // The function whose body comes next.
        let mut function = None;
        for (at, token) in tokens.iter().enumerate() {
            let rest = &tokens[at + 1..];
            match token {
                TokenTree::Ident(word) if word == "fn" => {
                    function = name(rest.first()).or(function);
                }
                TokenTree::Ident(word) if word == "unsafe" => self.note(rest, within),
                TokenTree::Punct(mark) if mark.as_char() == ';' => function = None,
                TokenTree::Group(group) => {
                    let body = match group.delimiter() {
                        Delimiter::Brace => function.take(),
                        _ => None,
                    };
                    self.walk(group.stream(), body.as_deref().unwrap_or(within));
                }
                _ => (),
            }
        }
    }

    /// Counts what begins with the word `unsafe` before these tokens.
    fn note(&mut self, rest: &[TokenTree], within: &str) {
        match rest {
            [TokenTree::Group(_), ..] => {
                self.blocks += 1;
                *self.within.entry(within.into()).or_default() += 1;
            }
            [TokenTree::Ident(word), ..] if word == "impl" => self.impls += 1,
            _ => {
                let at = rest
                    .iter()
                    .position(|t| matches!(t, TokenTree::Ident(w) if w == "fn"));
                // Without a name it is a type.
                if at.is_some_and(|at| at <= 2 && name(rest.get(at + 1)).is_some()) {
                    self.functions += 1;
                }
            }
        }
    }
}

fn name(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(name)) => Some(name.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    const SOURCE: &str = r#"
        //! An unsafe { } in a comment is none.
        global! {
            // SAFETY: It is initialised.
            unsafe(uninit) static LOCK: u32 = 0;
        }
        struct Kind {
            show: unsafe fn(u32) -> u32,
        }
        // SAFETY: Nothing is in it.
        unsafe impl Sync for Kind {}
        /// Adds.
        ///
        /// # Safety
        ///
        /// None.
        unsafe extern "C" fn add<T>(a: [u8; 2]) -> u32 {
            let text = "unsafe { }";
            // SAFETY: A test.
            if unsafe { *a } == 0 {
                // SAFETY: Another.
                unsafe { *a }
            }
        }
        macro_rules! more {
            ($a:ident) => {
                fn made() {
                    // SAFETY: In a macro.
                    unsafe { $a() }
                }
            };
        }
    "#;

    #[test]
    fn counts_what_there_is() {
        let counts = Counts::of(SOURCE).unwrap();
        assert_eq!((counts.blocks, counts.functions, counts.impls), (4, 1, 1));
        assert_eq!((counts.comments, counts.sections), (5, 1));
        assert!(counts.is_documented());
        let within: Vec<_> = counts
            .within
            .iter()
            .map(|(f, n)| (f.as_str(), *n))
            .collect();
        assert_eq!(within, [("", 1), ("add", 2), ("made", 1)]);
    }

    #[test]
    fn sees_what_is_not_documented() {
        let without = SOURCE.replace("// SAFETY: Another.", "");
        assert!(!Counts::of(&without).unwrap().is_documented());
        let without = SOURCE.replace("/// # Safety", "");
        assert!(!Counts::of(&without).unwrap().is_documented());
    }
}
