//! The two messages of `xds.type.matcher.v3` about CEL that Envoy knows and the generated types lack.
//!
//! Their descriptors are made in the build script.

use prost::Name;

use crate::xds_types::CelExpression;

const PACKAGE: &str = "xds.type.matcher.v3";

/// A matcher that is true when its CEL expression is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CelMatcher {
    /// The program, parsed or checked.
    #[prost(message, optional, tag = "1")]
    pub expr_match: Option<CelExpression>,
    /// The program's text, for people.
    #[prost(string, tag = "2")]
    pub description: String,
}

/// The input of a CEL matcher: the attributes of the request and its response.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HttpAttributesCelMatchInput {}

impl Name for CelMatcher {
    const NAME: &'static str = "CelMatcher";
    const PACKAGE: &'static str = PACKAGE;

    fn type_url() -> String {
        format!("type.googleapis.com/{}", Self::full_name())
    }
}

impl Name for HttpAttributesCelMatchInput {
    const NAME: &'static str = "HttpAttributesCelMatchInput";
    const PACKAGE: &'static str = PACKAGE;

    fn type_url() -> String {
        format!("type.googleapis.com/{}", Self::full_name())
    }
}
