//! The bill of materials: CycloneDX 1.6 as JSON. In: the crates. Out: one component a crate, with licence, sum and package URL, and what
//! depends on what. Crates that only help to build are there with the scope `excluded`.

use super::crates::{Crate, Id};

/// The whole document; `timestamp` is RFC 3339.
pub(super) fn render(crates: &[Crate], version: &str, commit: &str, timestamp: &str) -> String {
    let whole = format!("pkg:generic/xfer@{version}");
    let components: Vec<String> = crates.iter().map(component).collect();
    let own =
        crates.iter().filter(|one| matches!(one.id.0.as_str(), "xferctl" | "libxfer")).map(|one| &one.id);
    let mut edges = vec![edge(&whole, own)];
    edges.extend(crates.iter().map(|one| edge(&reference(&one.id), one.needs.iter())));
    format!(
        "{{\n\"bomFormat\": \"CycloneDX\",\n\"specVersion\": \"1.6\",\n\"version\": 1,\n\"metadata\": {{\"timestamp\": {}, \
         \"component\": {{\"type\": \"application\", \"bom-ref\": {}, \"name\": \"xfer\", \"version\": {}, \
         \"licenses\": [{{\"expression\": \"Apache-2.0\"}}], \"properties\": [{{\"name\": \"commit\", \"value\": {}}}]}}}},\n\
         \"components\": [\n{}\n],\n\"dependencies\": [\n{}\n]\n}}\n",
        string(timestamp),
        string(&whole),
        string(version),
        string(commit),
        components.join(",\n"),
        edges.join(",\n"),
    )
}

fn component(one: &Crate) -> String {
    let (name, version) = &one.id;
    let reference = string(&reference(&one.id));
    let mut text = format!(
        "{{\"type\": \"library\", \"bom-ref\": {reference}, \"name\": {}, \"version\": {}, \"scope\": {}, \"purl\": {reference}",
        string(name),
        string(version),
        string(if one.linked { "required" } else { "excluded" }),
    );
    if let Some(licence) = &one.licence {
        text += &format!(", \"licenses\": [{{\"expression\": {}}}]", string(&expression(licence)));
    }
    if let Some(sum) = &one.sum {
        text += &format!(", \"hashes\": [{{\"alg\": \"SHA-256\", \"content\": {}}}]", string(sum));
    }
    text + "}"
}

fn edge<'a>(from: &str, to: impl Iterator<Item = &'a Id>) -> String {
    let mut to: Vec<String> = to.map(|id| string(&reference(id))).collect();
    to.sort();
    to.dedup();
    format!("{{\"ref\": {}, \"dependsOn\": [{}]}}", string(from), to.join(", "))
}

/// The package URL, which also names the component within the document. `+` stands for a space in some readers.
fn reference((name, version): &Id) -> String {
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}

/// Crates from before SPDX expressions have `/` between licences of which one may choose.
fn expression(licence: &str) -> String {
    let choices: Vec<&str> = licence.split('/').map(str::trim).collect();
    choices.join(" OR ")
}

/// A JSON string (RFC 8259 section 7).
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::json::Json;

    fn one(name: &str, version: &str, linked: bool, needs: Vec<Id>) -> Crate {
        let id = (name.to_owned(), version.to_owned());
        let sum = Some("ab".repeat(32));
        Crate { id, licence: Some("MIT/Apache-2.0".to_owned()), sum, linked, needs, folder: PathBuf::new() }
    }

    #[test]
    fn it_has_the_shape_of_cyclonedx() {
        let zstd = one("zstd-sys", "2.0.1+zstd.1.5", true, Vec::new());
        let tool = one("xferctl", "0.1.0", true, vec![zstd.id.clone(), zstd.id.clone()]);
        let text = render(
            &[tool, zstd, one("cc", "1.0.0", false, Vec::new())],
            "0.1.0",
            "abc\"",
            "2026-01-01T00:00:00Z",
        );
        let bill = Json::parse(&text).unwrap();
        assert_eq!(bill.get("bomFormat").text(), Some("CycloneDX"));
        assert_eq!(bill.get("specVersion").text(), Some("1.6"));
        let components = bill.get("components").items();
        assert_eq!(components.len(), 3);
        let zstd = &components[1];
        assert_eq!(zstd.get("purl").text(), Some("pkg:cargo/zstd-sys@2.0.1%2Bzstd.1.5"));
        assert_eq!(zstd.get("licenses").items()[0].get("expression").text(), Some("MIT OR Apache-2.0"));
        assert_eq!(zstd.get("hashes").items()[0].get("content").text(), Some("ab".repeat(32).as_str()));
        assert_eq!(components[2].get("scope").text(), Some("excluded"));
        let edges = bill.get("dependencies").items();
        assert_eq!(edges[0].get("dependsOn").items().len(), 1, "the whole is made of the tool here");
        assert_eq!(edges[1].get("dependsOn").items(), [zstd.get("bom-ref").clone()]);
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(Json::parse(&string("a\"\\\n")).unwrap().text(), Some("a\"\\\n"));
    }
}
