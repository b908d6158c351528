// SPDX-License-Identifier: GPL-2.0
//! What Pacemaker's agents would do.

use super::{word, Finding, Moving, Node, Unreadable};
use roxmltree::{Document, ParsingOptions};
use std::collections::{BTreeSet, HashMap};

/// Where a node of the cluster keeps the configuration; the same that `cibadmin -Q` prints.
const CIB: &str = "/var/lib/pacemaker/cib/cib.xml";
/// A configuration has some thousand elements. Resources may refer to each other, so time grows with the
/// square of this.
const MAX_NODES: u32 = 1 << 16;

/// An exportfs resource, as the agent will be called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exportfs {
    id: String,
    /// Does it release all locks of the file system when it stops?
    unlocks: bool,
    /// What it exports, if it says so in one way.
    pub(super) directory: Option<String>,
}

/// Would an exportfs agent release the locks of other exports when it stops (`unlock_on_stop`,
/// which is true by default)?
pub(super) fn unlocks(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let Some(text) = node.tree.text(CIB)? else {
        return Ok(Vec::new());
    };
    let resources = match resources(&text) {
        Ok(resources) => resources,
        Err(e) => {
            let why = "What the cluster would do is not checked.";
            let finding = Finding::warning(
                "cib",
                format!("{CIB} is no configuration of Pacemaker's: {e}"),
                why,
            );
            return Ok(vec![finding.fix("cibadmin -Q | head; crm_verify -L")]);
        }
    };
    let finding = |one: Exportfs| {
        let why = "When it stops, it writes the path to unlock_filesystem, and all exports of that file system lose their locks.";
        let what = format!("Pacemaker's resource {} has not unlock_on_stop=0", one.id);
        Finding::error("unlock-on-stop", what, why).fix(format!(
            "crm_resource --resource {} --set-parameter unlock_on_stop --parameter-value 0",
            word(&one.id)
        ))
    };
    Ok(resources
        .into_iter()
        .filter(|one| one.unlocks)
        .map(finding)
        .collect())
}

/// What Pacemaker moves.
pub(super) fn moving(node: &Node) -> Result<Vec<Moving>, Unreadable> {
    let resources = resources(&node.tree.text(CIB)?.unwrap_or_default()).unwrap_or_default();
    Ok(resources
        .into_iter()
        .filter_map(|one| one.directory)
        .map(|path| Moving::Path(path.into()))
        .collect())
}

/// The exportfs resources of a configuration (`xml/resources-*.rng` of Pacemaker). A document with
/// a DTD is refused: it has none, and entities could make a small text a large one.
pub(super) fn resources(text: &str) -> Result<Vec<Exportfs>, roxmltree::Error> {
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MAX_NODES,
    };
    let cib = Document::parse_with_options(text, options)?;
    let mut by_id = HashMap::new();
    for node in cib.descendants() {
        if let Some(id) = node.attribute("id") {
            by_id.entry((node.tag_name().name(), id)).or_insert(node);
        }
    }
    let of_id = |tag: &'static str, id: Option<&str>| by_id.get(&(tag, id?)).copied();
    let mut found = Vec::new();
    for resource in cib
        .descendants()
        .filter(|node| node.has_tag_name("primitive"))
    {
        // A resource has what it does not say itself from its template.
        let template = of_id("template", resource.attribute("template"));
        let agent = if resource.has_attribute("type") {
            Some(resource)
        } else {
            template
        };
        if agent.and_then(|agent| agent.attribute("type")) != Some("exportfs") {
            continue;
        }
        let values = |holder: roxmltree::Node<'_, '_>, name| -> BTreeSet<String> {
            let sets = holder
                .children()
                .filter(|node| node.has_tag_name("instance_attributes"));
            let sets = sets
                .map(|set| of_id("instance_attributes", set.attribute("id-ref")).unwrap_or(set));
            let pairs = sets
                .flat_map(|set| set.children())
                .filter(|node| node.has_tag_name("nvpair"));
            let pairs = pairs.map(|pair| of_id("nvpair", pair.attribute("id-ref")).unwrap_or(pair));
            let ours = pairs.filter(|pair| pair.attribute("name") == Some(name));
            ours.map(|pair| pair.attribute("value").unwrap_or_default().to_owned())
                .collect()
        };
        // With rules, there may be several.
        let said = |name| match values(resource, name) {
            none if none.is_empty() => template
                .map(|template| values(template, name))
                .unwrap_or_default(),
            some => some,
        };
        let unlock = said("unlock_on_stop");
        found.push(Exportfs {
            id: resource.attribute("id").unwrap_or_default().to_owned(),
            unlocks: unlock.is_empty() || unlock.iter().any(|value| is_true(value)),
            directory: said("directory")
                .into_iter()
                .next()
                .filter(|path| path.starts_with('/')),
        });
    }
    Ok(found)
}

/// As the agents' shell reads it (`ocf_is_true` of resource-agents).
fn is_true(value: &str) -> bool {
    matches!(
        value,
        "yes" | "YES" | "Yes" | "true" | "TRUE" | "True" | "1" | "ja" | "on" | "ON"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A configuration with resources.
    fn cib(resources: &str) -> String {
        format!("<?xml version=\"1.0\"?>\n<cib><configuration><resources>{resources}</resources></configuration></cib>")
    }

    fn exportfs(inner: &str) -> String {
        format!(
            r#"<primitive id="exp" class="ocf" provider="heartbeat" type="exportfs">{inner}</primitive>"#
        )
    }

    fn set(value: &str) -> String {
        format!(
            r#"<instance_attributes id="i"><nvpair id="n" name="unlock_on_stop" value="{value}"/></instance_attributes>"#
        )
    }

    /// The resource of a configuration with one.
    fn unlocks(resources: &str) -> bool {
        let found = super::resources(&cib(resources)).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].unlocks
    }

    #[test]
    fn it_unlocks_unless_told_otherwise() {
        assert!(unlocks(&exportfs("")));
        assert!(unlocks(&exportfs(&set("true"))));
        assert!(!unlocks(&exportfs(&set("0"))));
        assert!(!unlocks(&format!(
            "<group id=\"g\">{}</group>",
            exportfs(&set("false"))
        )));
        assert!(
            unlocks(&exportfs(&(set("0") + &set("1")))),
            "a rule may choose either"
        );
    }

    #[test]
    fn others_are_not_asked() {
        assert_eq!(
            resources(&cib(
                r#"<primitive id="ip" class="ocf" provider="heartbeat" type="IPaddr2"/>"#
            ))
            .unwrap(),
            []
        );
    }

    #[test]
    fn a_template_counts_for_what_is_not_said() {
        let template = format!(
            r#"<template id="t" class="ocf" provider="heartbeat" type="exportfs">{}</template>"#,
            set("0")
        );
        assert!(!unlocks(
            &(template.clone() + r#"<primitive id="exp" template="t"/>"#)
        ));
        assert!(unlocks(
            &(template
                + &format!(
                    r#"<primitive id="exp" template="t">{}</primitive>"#,
                    set("1")
                ))
        ));
    }

    #[test]
    fn a_set_may_be_that_of_another() {
        let other = exportfs(&set("0"));
        let by_reference = r#"<primitive id="b" class="ocf" type="exportfs"><instance_attributes id-ref="i"/></primitive>"#;
        let found = resources(&cib(&(other + by_reference))).unwrap();
        assert!(found.iter().all(|one| !one.unlocks), "{found:?}");
    }

    #[test]
    fn a_large_configuration_takes_a_moment() {
        let primitive = |n| format!(r#"<primitive id="p{n}" template="t"/>"#);
        let many = (0..60_000).map(primitive).collect::<Vec<_>>().concat();
        let template = r#"<template id="t" type="exportfs"/>"#;
        let began = std::time::Instant::now();
        assert_eq!(resources(&cib(&(many + template))).unwrap().len(), 60_000);
        // Each was looked for among all once.
        assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    }

    #[test]
    fn entities_are_refused() {
        let text = "<!DOCTYPE cib [<!ENTITY a \"aaaa\">]><cib>&a;</cib>";
        assert!(resources(text).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".*") {
            super::super::laws::cib(&text);
        }

        #[test]
        fn any_tags_are_read(tags in proptest::collection::vec("<(/?)(cib|primitive|template|nvpair)( type=\"exportfs\"| id-ref=\"x\"| id=\"x\")?(/?)>", 0..20)) {
            super::super::laws::cib(&tags.concat());
        }
    }
}
