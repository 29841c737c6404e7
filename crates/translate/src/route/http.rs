//! HTTPRoute.

use ir::Kind;
use store::ObjectId;

use super::{Head, RouteKind, RouteOutput, resolve::Speaks, rules};
use crate::{GatewayTable, Reader};

/// HTTPRoute.
#[derive(Debug)]
pub(super) struct HttpRoute;

impl RouteKind for HttpRoute {
    fn kind(&self) -> Kind {
        Kind::HttpRoute
    }

    fn head<'a>(&self, id: ObjectId, reader: &mut Reader<'a>) -> Option<Head<'a>> {
        let route = reader.http_route(id)?;
        Some(Head { meta: &route.meta, parents: &route.parents, hostnames: &route.hostnames })
    }

    fn translate(
        &self,
        id: ObjectId,
        reader: &mut Reader<'_>,
        gateways: GatewayTable<'_>,
    ) -> Option<RouteOutput> {
        let route = reader.http_route(id)?;
        Some(rules::translate(&route.meta, (&route.rules, &route.parents), Speaks::Http, reader, gateways))
    }
}
