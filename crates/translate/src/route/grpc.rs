//! GRPCRoute: its calls are HTTP requests, so all but the protocol is as with HTTPRoute.

use ir::Kind;
use store::ObjectId;

use super::{Head, RouteKind, RouteOutput, resolve::Speaks, rules};
use crate::{GatewayTable, Reader};

/// GRPCRoute.
#[derive(Debug)]
pub(super) struct GrpcRoute;

impl RouteKind for GrpcRoute {
    fn kind(&self) -> Kind {
        Kind::GrpcRoute
    }

    fn head<'a>(&self, id: ObjectId, reader: &mut Reader<'a>) -> Option<Head<'a>> {
        let route = reader.grpc_route(id)?;
        Some(Head { meta: &route.meta, parents: &route.parents, hostnames: &route.hostnames })
    }

    fn translate(
        &self,
        id: ObjectId,
        reader: &mut Reader<'_>,
        gateways: GatewayTable<'_>,
    ) -> Option<RouteOutput> {
        let route = reader.grpc_route(id)?;
        Some(rules::translate(&route.meta, (&route.rules, &route.parents), Speaks::Grpc, reader, gateways))
    }
}
