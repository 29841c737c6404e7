//! Stage 4: policies. Which of them applies where, what it says there, and what its status is.
//!
//! A kind of policies is one module here that implements [`PolicyKind`], and one line in [`KINDS`]. Everything else is
//! common to all kinds: targets by name and by labels, scopes and which of two policies has one, merging, conditions.
//!
//! Scopes, the most specific one first: a rule of a route, the route, a listener (of a Gateway or of a ListenerSet), its
//! ListenerSet, the Gateway. Of policies of one kind that claim the same scope the oldest has it, then the one whose
//! namespace and name come first; the others are in conflict. What applies is the policy of the most specific scope
//! that has one, as a whole; with `mergeType`, it is merged over the one that would apply without it. That of a route, or
//! of a rule, is then merged over the closest one of its listener.

pub mod backend_traffic;
pub mod client_traffic;
mod merge;
mod scope;
mod status;
mod target;

use std::{any::Any, collections::BTreeMap, fmt, sync::Arc};

use engine::Table;
use ir::{Kind, ObjectRef};
use serde_json::Value;
use store::{ObjectId, facts};

use crate::{
    AttachListener, DefaultHosts, Dep, Finding, Reader,
    reader::{AttachTable, GatewayTable, RouteTable},
};
pub use merge::{Origins, Source};
pub use scope::{Relation, Relations, Scope, around_listener, around_scope};
pub(crate) use status::truncated;
pub use status::{Place, unit as status};
use target::claims;
pub use target::{holder, parents};

/// A kind of policies.
pub trait PolicyKind: Sync {
    /// The kind.
    fn kind(&self) -> Kind;

    /// How lists are merged by a strategic merge.
    fn merge_keys(&self) -> &'static dyn patch::MergeKeys;

    /// Fields of which a policy has one at most, or that belong together, by the path of the object that they stand in:
    /// when a policy has one of them, those of the policy that it is merged over that it does not have itself count for
    /// nothing.
    fn alternatives(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[]
    }

    /// Deprecated fields that a policy uses, each with what to use instead; ascending. `targetRef` is every kind's.
    fn deprecated(&self, document: &Value) -> Vec<(&'static str, &'static str)>;

    /// What a document says, and what is wrong with it: with findings, the policy cannot be applied.
    fn read(&self, source: &Source, reader: &mut Reader<'_>) -> (Arc<dyn Settings>, Vec<Finding>);

    /// Tells the versions of a policy apart where later stages know what they say by a name.
    fn tell_apart(&self, _versions: &mut BTreeMap<Box<[ObjectId]>, Version>, _reader: &Reader<'_>) {}

    /// What a policy says in vain at a route that it is for, by one of its versions: reasons with sentences.
    fn in_vain(
        &self,
        _version: &Version,
        _at: AtRoute<'_>,
        _routes: RouteTable<'_>,
        _reader: &mut Reader<'_>,
    ) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What a Gateway found when it applied a policy that has a scope in it, for kinds that Gateways apply.
    fn at_gateway(
        &self,
        _policy: ObjectId,
        _scope: &Scope,
        _gateway: ObjectId,
        _outputs: (GatewayTable<'_>, DefaultHosts<'_>),
        _reader: &mut Reader<'_>,
    ) -> AtGateway {
        AtGateway::default()
    }
}

/// What a policy is for: a route, or a rule of it, and the names of rules that have policies of their own.
#[derive(Clone, Copy, Debug)]
pub struct AtRoute<'a> {
    /// The route.
    pub route: ObjectId,
    /// The rule; `None` for all of them.
    pub rule: Option<&'a str>,
    /// Rules that other policies of the kind are for.
    pub others: &'a [Arc<str>],
}

/// What a Gateway found when it applied a policy.
#[derive(Debug, Default)]
pub struct AtGateway {
    /// Why the policy cannot be applied there.
    pub against: Vec<Finding>,
    /// What its author should know all the same: reasons with sentences.
    pub warnings: Vec<(&'static str, String)>,
}

/// The kinds of policies that are built.
const KINDS: &[&dyn PolicyKind] = &[&backend_traffic::BackendTraffic, &client_traffic::ClientTraffic];

/// What stages need to know of a kind of policies; `None` for kinds that are none, or are not built.
pub fn of(kind: Kind) -> Option<&'static dyn PolicyKind> {
    KINDS.iter().copied().find(|policy| policy.kind() == kind)
}

/// What a policy says, in the form that its kind gives it.
pub trait Settings: Any + fmt::Debug + Send + Sync {
    /// Whether another says the same.
    fn equals(&self, other: &dyn Settings) -> bool;
}

impl<T: Any + fmt::Debug + Send + Sync + Eq> Settings for T {
    fn equals(&self, other: &dyn Settings) -> bool {
        (other as &dyn Any).downcast_ref::<T>().is_some_and(|other| self == other)
    }
}

/// What a policy says, by itself or merged over another one.
#[derive(Clone, Debug)]
pub struct Version {
    settings: Arc<dyn Settings>,
    /// Why it cannot be applied; empty when it can.
    pub findings: Box<[Finding]>,
    /// Which policy each field comes from, when it is merged; empty when it says everything by itself.
    pub origins: Origins,
}

impl Version {
    /// The settings; `None` when they are another kind's.
    pub fn get<T: Any>(&self) -> Option<&T> {
        (&*self.settings as &dyn Any).downcast_ref()
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.findings == other.findings
            && self.origins == other.origins
            && self.settings.equals(&*other.settings)
    }
}

impl Eq for Version {}

/// What the policy stage says of one policy. Parts that different readers look at are kept apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyOutput {
    /// The policy.
    pub object: ObjectRef,
    /// `metadata.generation`.
    pub generation: i64,
    /// What it says by the policies that it is merged over, the closest first: by itself, and for each place.
    pub versions: BTreeMap<Box<[ObjectId]>, Version>,
    /// Deprecated fields that it uses, each with what to use instead.
    pub deprecated: Vec<(&'static str, &'static str)>,
    /// Where it acts, or would.
    pub places: Vec<Place>,
    /// How that relates to broader scopes, ascending, each once.
    pub relations: Box<[Relation]>,
}

/// Outputs of the policy stage, for later stages.
#[derive(Clone, Copy, Debug)]
pub struct Policies<'a>(pub &'a Table<ObjectId, PolicyOutput, Dep>);

/// A policy where it applies.
#[derive(Clone, Copy, Debug)]
pub struct Applied<'a> {
    /// The policy.
    pub policy: ObjectId,
    /// The broader ones that it is merged over, the closest first.
    pub parents: &'a [ObjectId],
    /// What they say together.
    pub version: &'a Version,
    /// The policy is for the route or a rule of it.
    pub of_route: bool,
}

impl<'a> Policies<'a> {
    /// The policy of a kind that applies to a rule of a route on a listener. `rule` is the rule's name.
    pub fn of_rule(
        &self,
        kind: Kind,
        (route, rule): (ObjectId, Option<&str>),
        listener: &AttachListener,
        reader: &mut Reader<'_>,
    ) -> Option<Applied<'a>> {
        let own = rule.and_then(|rule| target::holder(kind, route, Some(rule), reader));
        match own.or_else(|| target::holder(kind, route, None, reader)) {
            Some(policy) => self.over(policy, &listener.scopes(), true, reader),
            None => self.of_listener(kind, listener, reader),
        }
    }

    /// All policies of a kind for a rule of a route on a listener and for what contains it, the most specific one first.
    pub fn all_of_rule(
        &self,
        kind: Kind,
        (route, rule): (ObjectId, Option<&str>),
        listener: &AttachListener,
        reader: &mut Reader<'_>,
    ) -> Vec<Applied<'a>> {
        let mut all = Vec::new();
        let scopes = listener.scopes();
        for section in rule.map(Some).into_iter().chain([None]) {
            let Some(policy) = target::holder(kind, route, section, reader) else { continue };
            all.extend(self.over(policy, &scopes, true, reader));
        }
        for scope in &scopes {
            let holder = target::holder(kind, scope.object, scope.section.as_deref(), reader);
            all.extend(holder.and_then(|policy| self.version(policy, &[], false, reader)));
        }
        all
    }

    /// The policy of a kind that applies to a listener.
    pub fn of_listener(
        &self,
        kind: Kind,
        listener: &AttachListener,
        reader: &mut Reader<'_>,
    ) -> Option<Applied<'a>> {
        let scopes = listener.scopes();
        let (policy, at) = target::closest(kind, &scopes, reader)?;
        self.over(policy, &scopes[at + 1..], false, reader)
    }

    /// A policy merged over those of broader scopes as far as it, and they, say so.
    fn over(
        &self,
        policy: ObjectId,
        broader: &[Scope],
        of_route: bool,
        reader: &mut Reader<'_>,
    ) -> Option<Applied<'a>> {
        let kind = reader.kind(policy)?;
        let parents: Vec<ObjectId> =
            target::parents(kind, policy, broader, reader).into_iter().map(|(parent, _)| parent).collect();
        self.version(policy, &parents, of_route, reader)
    }

    /// A policy by itself, or merged over other ones, of which the closest comes first.
    pub fn version(
        &self,
        policy: ObjectId,
        parents: &[ObjectId],
        of_route: bool,
        reader: &mut Reader<'_>,
    ) -> Option<Applied<'a>> {
        reader.record(Dep::Policy(policy));
        let versions = &self.0.get(policy)?.versions;
        // The stage has a version for every listener that a target is attached to, so the first look finds it.
        let (parents, version) =
            versions.get_key_value(parents).or_else(|| versions.get_key_value(&[][..]))?;
        Some(Applied { policy, parents, version, of_route })
    }
}

/// Judges one policy. `None` when it does not exist, or its kind is not built.
pub fn unit(
    id: ObjectId,
    reader: &mut Reader<'_>,
    gateways: GatewayTable<'_>,
    routes: RouteTable<'_>,
    attached: AttachTable<'_>,
    hosts: DefaultHosts<'_>,
) -> Option<PolicyOutput> {
    let kind = of(reader.kind(id)?)?;
    let policy = reader.policy(id)?.clone();
    let mut deprecated = kind.deprecated(&policy.document);
    if policy.by_target_ref {
        deprecated.push(("spec.targetRef", "spec.targetRefs"));
        deprecated.sort_unstable();
    }
    let mut work = Work {
        kind,
        id,
        output: PolicyOutput {
            object: reader.object(id),
            generation: policy.meta.generation,
            versions: BTreeMap::new(),
            deprecated,
            places: Vec::new(),
            relations: [].into(),
        },
        policy,
        relations: Vec::new(),
    };
    work.version(&[], reader);
    // Places with one ancestor share an entry of the status, and of what they say the first or the last holds: their
    // order must be the objects', as ids tell of the order in which a process came to know them.
    let mut targets = reader.targets_of(id);
    targets.sort_by_cached_key(|target| reader.object(*target));
    for target in targets {
        let sections = claims(&work.policy, target, reader);
        for section in sections {
            if crate::route::of(reader.kind(target)?).is_some() {
                work.at_route(target, section.as_ref(), reader, (gateways, routes, attached));
            } else {
                work.at_listeners(target, section.as_ref(), reader, (gateways, hosts));
            }
        }
    }
    let Work { mut output, mut relations, .. } = work;
    kind.tell_apart(&mut output.versions, reader);
    relations.sort_unstable();
    relations.dedup();
    output.relations = relations.into();
    Some(output)
}

/// Judging one policy.
struct Work {
    kind: &'static dyn PolicyKind,
    id: ObjectId,
    policy: Arc<facts::Policy>,
    output: PolicyOutput,
    relations: Vec<Relation>,
}

impl Work {
    /// Why the policy, merged over `parents`, cannot be applied; all of the reasons as one.
    fn version(&mut self, parents: &[(ObjectId, Scope)], reader: &mut Reader<'_>) -> Option<Finding> {
        let parents: Box<[ObjectId]> = parents.iter().map(|(parent, _)| *parent).collect();
        let versions = &mut self.output.versions;
        let version = versions
            .entry(parents)
            .or_insert_with_key(|parents| merge::version(self.kind, &self.policy, parents, reader));
        status::joined(&version.findings)
    }

    /// Notes at a place that the policy is merged over others there, which are not overridden then.
    fn merged(
        &mut self,
        place: &mut Place,
        parents: Vec<(ObjectId, Scope)>,
        relation: &Relation,
        reader: &Reader<'_>,
    ) {
        place.merged = parents.iter().map(|(parent, _)| reader.object(*parent)).collect();
        let merged =
            parents.into_iter().map(|(_, of)| Relation { parent: of, merged: true, ..relation.clone() });
        self.relations.extend(merged);
    }

    /// The policy at a Gateway or ListenerSet, or at one listener of it.
    fn at_listeners(
        &mut self,
        target: ObjectId,
        section: Option<&Arc<str>>,
        reader: &mut Reader<'_>,
        (gateways, hosts): (GatewayTable<'_>, DefaultHosts<'_>),
    ) {
        // One that is not ours, or not there, may be another controller's: nothing is said of it.
        let Some(gateway) = scope::gateway_of(target, reader) else { return };
        if gateways.listeners(reader, gateway, target).is_none() {
            return;
        }
        let scope = Scope { object: target, section: section.cloned() };
        let mut place = Place::new(scope.clone(), scope.clone(), reader);
        if section.is_some_and(|section| !scope::has_section(target, section, reader)) {
            place.refused = Some(target::not_found(&self.output.object, &scope, reader));
        } else if let Some(other) = self.conflict(&scope, reader) {
            place.refused = Some(other);
        } else {
            let at = self.kind.at_gateway(self.id, &scope, gateway, (gateways, hosts), reader);
            let broader = scope::broader(&scope, gateway);
            let parents = target::parents(self.kind.kind(), self.id, &broader, reader);
            place.invalid = self.version(&parents, reader).or_else(|| status::joined(&at.against));
            place.warnings = at.warnings;
            if let Some(parent) = broader.into_iter().next() {
                let child = scope.clone();
                let relation = Relation { gateway, parent, child, of_route: false, merged: false };
                if place.invalid.is_none() {
                    self.merged(&mut place, parents, &relation, reader);
                }
                self.relations.push(relation);
            }
            place.scope = Some((gateway, scope));
        }
        self.output.places.push(place);
    }

    /// The policy at a route, or at one rule of it.
    fn at_route(
        &mut self,
        route: ObjectId,
        section: Option<&Arc<str>>,
        reader: &mut Reader<'_>,
        (gateways, routes, attached): (GatewayTable<'_>, RouteTable<'_>, AttachTable<'_>),
    ) {
        let own = Scope { object: route, section: section.cloned() };
        let whole = Scope { object: route, section: None };
        let names = routes.rule_names(reader, route);
        let refused = if section.is_some_and(|section| !names.contains(section)) {
            Some(target::not_found(&self.output.object, &own, reader))
        } else {
            self.conflict(&own, reader)
        };
        let mut overriding: Vec<Arc<str>> = match section {
            None => names.iter().filter(|name| self.holds(route, name, reader)).cloned().collect(),
            Some(_) => Vec::new(),
        };
        overriding.sort_unstable();
        let first = self.output.places.len();
        for parent in attached.parents(reader, route) {
            let scope = scope::of_parent(parent);
            let mut place = Place::new(own.clone(), scope.clone(), reader);
            self.relations.push(Relation {
                gateway: parent.gateway,
                parent: scope,
                child: whole.clone(),
                of_route: true,
                merged: false,
            });
            place.overriding.clone_from(&overriding);
            match &refused {
                Some(refused) => place.refused = Some(refused.clone()),
                None if self.policy.merge.is_none() => place.invalid = self.version(&[], reader),
                None => self.merged_at(parent, (&own, &whole), reader, gateways),
            }
            self.output.places.push(place);
        }
        if refused.is_none() {
            let at = AtRoute { route, rule: section.map(|section| &**section), others: &overriding };
            self.warn(first, at, reader, routes);
        }
    }

    /// Tells at all places of a route from `first` on what the policy says in vain.
    fn warn(&mut self, first: usize, at: AtRoute<'_>, reader: &mut Reader<'_>, routes: RouteTable<'_>) {
        let mut warnings = Vec::new();
        for version in self.output.versions.values() {
            for warning in self.kind.in_vain(version, at, routes, reader) {
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
        }
        for place in self.output.places.iter_mut().skip(first).filter(|place| !place.partial) {
            place.warnings.clone_from(&warnings);
        }
    }

    /// The policy of a route at each listener of one of its parents, merged over the closest policy there.
    fn merged_at(
        &mut self,
        parent: &crate::ParentOutput,
        (own, route): (&Scope, &Scope),
        reader: &mut Reader<'_>,
        gateways: GatewayTable<'_>,
    ) {
        for index in &parent.counted {
            let Some(listener) = gateways.listener(reader, parent.fleet, *index) else { continue };
            let parents = target::parents(self.kind.kind(), self.id, &listener.scopes(), reader);
            let invalid = self.version(&parents, reader);
            let scope = Scope { object: listener.id.owner, section: Some(listener.name.clone()) };
            let mut place = Place::new(own.clone(), scope.clone(), reader);
            place.partial = true;
            place.invalid = invalid;
            if place.invalid.is_none() {
                if parents.is_empty() {
                    continue;
                }
                let (gateway, child) = (parent.gateway, route.clone());
                let relation = Relation { gateway, parent: scope, child, of_route: true, merged: true };
                self.merged(&mut place, parents, &relation, reader);
            }
            self.output.places.push(place);
        }
    }

    fn holds(&self, route: ObjectId, rule: &str, reader: &mut Reader<'_>) -> bool {
        target::holder(self.kind.kind(), route, Some(rule), reader).is_some()
    }

    /// The policy that has a scope instead of this one.
    fn conflict(&self, scope: &Scope, reader: &mut Reader<'_>) -> Option<Finding> {
        let holder = target::holder(self.kind.kind(), scope.object, scope.section.as_deref(), reader)?;
        (holder != self.id).then(|| target::conflicted(&reader.object(holder), scope, reader))
    }
}
