//! Dapr's files agree with the bus, with each other and with the contract files.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::rust::parts;
use super::services::ContractFile;
use super::tree::{File, Finding, Tree};

/// Where the bus receives deliveries; the stream's name follows.
const DELIVERY_ROUTE: &str = "/events/";

/// One component per lane, named `pubsub-<lane>`.
const LANES: &[&str] = &["critical", "normal", "bulk"];

/// The app-id of every relay; only it may publish.
const RELAY: &str = "relay";

/// A subscription file's document.
#[derive(Debug, Deserialize)]
pub(super) struct Subscription {
    pub(super) spec: SubscriptionSpec,
    /// App-ids that it delivers to.
    #[serde(default)]
    pub(super) scopes: Vec<String>,
}

/// What is delivered, from which component, to which route.
#[derive(Debug, Deserialize)]
pub(super) struct SubscriptionSpec {
    pubsubname: String,
    /// Dapr's topic, which is our stream.
    pub(super) topic: String,
    routes: Routes,
    #[serde(rename = "deadLetterTopic")]
    dead_letter_topic: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Routes {
    default: String,
}

/// Every subscription with its file, and what could not be read.
pub(super) fn subscriptions(tree: &Tree) -> (Vec<(&File, Subscription)>, Vec<Finding>) {
    let (mut read, mut unreadable) = (Vec::new(), Vec::new());
    for file in tree.below("components/subscriptions", "yaml") {
        match serde_saphyr::from_multiple::<Subscription>(&file.text) {
            Ok(documents) => read.extend(documents.into_iter().map(|document| (file, document))),
            Err(error) => unreadable.push(Finding::file(&file.path, error.to_string())),
        }
    }
    (read, unreadable)
}

/// A subscription delivers a stream from its lane's component to the bus's route.
pub(super) fn subscriptions_fit_the_bus(tree: &Tree) -> Vec<Finding> {
    let (subscriptions, mut findings) = subscriptions(tree);
    let routed = tree
        .below("crates/bus/src", "rs")
        .flat_map(|file| parts(file.without_tests()).literals)
        .any(|literal| literal.text.starts_with(&format!("{DELIVERY_ROUTE}{{")));
    if !routed && !subscriptions.is_empty() {
        let message = format!("the bus has no route {DELIVERY_ROUTE}{{...}}");
        findings.push(Finding::file("crates/bus/src", message));
    }
    for (file, subscription) in &subscriptions {
        let SubscriptionSpec { pubsubname, topic, routes, dead_letter_topic } = &subscription.spec;
        let mut complain = |message: String| findings.push(Finding::file(&file.path, message));
        let lane = topic.rsplit('.').next().unwrap_or_default();
        if !LANES.contains(&lane) || *pubsubname != format!("pubsub-{lane}") {
            complain(format!("{topic} does not belong to {pubsubname}"));
        }
        if routes.default != format!("{DELIVERY_ROUTE}{topic}") {
            complain(format!("{topic} is delivered to {}", routes.default));
        }
        if dead_letter_topic.is_some() {
            complain(format!("{topic} has a dead letter topic; we keep cases ourselves"));
        }
        if subscription.scopes.is_empty() {
            complain(format!("{topic} is delivered to every app"));
        }
        for app in subscription.scopes.iter().filter(|app| !is_service(tree, app)) {
            complain(format!("{topic} is delivered to {app}, which is no service"));
        }
    }
    findings
}

/// Each lane's component lets every topic pass: from the relay, and to whom it is delivered.
pub(super) fn lanes_list_every_topic(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let topics = topics(tree);
    let (subscriptions, _) = subscriptions(tree);
    for lane in LANES.iter().filter(|_| !topics.is_empty()) {
        let path = format!("components/pubsub-{lane}.yaml");
        let component = tree.file(&path).map(|file| serde_saphyr::from_str(&file.text));
        let component: Component = match component {
            Some(Ok(component)) => component,
            Some(Err(error)) => {
                findings.push(Finding::file(&path, error.to_string()));
                continue;
            }
            None => {
                findings.push(Finding::file(&path, "is missing"));
                continue;
            }
        };
        let mut want = |list: &str, app: Option<&str>, stream: &str| {
            if !component.lists(list, app, stream) {
                let app = app.map(|app| format!(" for {app}")).unwrap_or_default();
                findings.push(Finding::file(&path, format!("{list} lacks {stream}{app}")));
            }
        };
        for topic in &topics {
            let stream = format!("{topic}.{lane}");
            want("allowedTopics", None, &stream);
            want("protectedTopics", None, &stream);
            want("publishingScopes", Some(RELAY), &stream);
        }
        let ends = format!(".{lane}");
        for (_, Subscription { spec, scopes }) in &subscriptions {
            for app in scopes.iter().filter(|_| spec.topic.ends_with(&ends)) {
                want("subscriptionScopes", Some(app), &spec.topic);
            }
        }
    }
    findings
}

/// Every service is named in the resiliency file; one that is not gets Dapr's own retries.
pub(super) fn resiliency_names_every_app(tree: &Tree) -> Vec<Finding> {
    let path = "components/resiliency.yaml";
    let Some(file) = tree.file(path) else { return Vec::new() };
    let apps = match serde_saphyr::from_str::<Resiliency>(&file.text) {
        Ok(resiliency) => resiliency.spec.targets.apps,
        Err(error) => return vec![Finding::file(path, error.to_string())],
    };
    let services = tree.packages.iter().filter(|package| package.is_service());
    let unnamed = services.filter(|service| !apps.contains_key(&service.name));
    unnamed.map(|service| Finding::file(path, format!("does not name {}", service.name))).collect()
}

/// Topics of all contract files.
fn topics(tree: &Tree) -> Vec<String> {
    let services = tree.packages.iter().filter(|package| package.is_service());
    let folders: Vec<String> =
        services.map(|service| format!("{}/contracts", service.folder)).collect();
    let files = folders.iter().flat_map(|folder| tree.below(folder, "yaml"));
    files
        .filter_map(|file| serde_saphyr::from_str::<ContractFile>(&file.text).ok())
        .map(|contract| contract.topic)
        .collect()
}

fn is_service(tree: &Tree, app: &str) -> bool {
    tree.packages.iter().any(|package| package.is_service() && package.name == app)
}

#[derive(Deserialize)]
struct Component {
    spec: ComponentSpec,
}

#[derive(Deserialize)]
struct ComponentSpec {
    metadata: Vec<Setting>,
}

#[derive(Deserialize)]
struct Setting {
    name: String,
    value: Option<String>,
}

impl Component {
    /// Whether a setting of the form `a,b` or `app=a,b;other=c` lists a stream.
    fn lists(&self, setting: &str, app: Option<&str>, stream: &str) -> bool {
        let setting = self.spec.metadata.iter().find(|s| s.name == setting);
        let value = setting.and_then(|s| s.value.as_deref()).unwrap_or_default();
        let list = match app {
            None => Some(value),
            Some(app) => value.split(';').find_map(|part| {
                let (name, list) = part.split_once('=')?;
                (name.trim() == app).then_some(list)
            }),
        };
        list.is_some_and(|list| list.split(',').any(|name| name.trim() == stream))
    }
}

#[derive(Deserialize)]
struct Resiliency {
    spec: ResiliencySpec,
}

#[derive(Deserialize)]
struct ResiliencySpec {
    targets: Targets,
}

#[derive(Deserialize)]
struct Targets {
    apps: BTreeMap<String, serde::de::IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::sample::{package, tree};

    const SUBSCRIPTION: &str = "spec:\n  pubsubname: pubsub-normal\n  topic: a.b.normal\n  \
        routes:\n    default: /events/a.b.normal\nscopes:\n  - indexer\n";
    const BUS: (&str, &str) = ("crates/bus/src/routes.rs", "route(\"/events/{stream}\")");

    fn mesh(files: &[(&str, &str)]) -> Tree {
        let mut tree = tree(files);
        tree.packages = vec![package("services/indexer", &[])];
        tree
    }

    fn complaints(subscription: &str) -> usize {
        let file = ("components/subscriptions/indexer.yaml", subscription);
        subscriptions_fit_the_bus(&mesh(&[file, BUS])).len()
    }

    #[test]
    fn a_subscription_that_does_not_fit_is_found() {
        assert_eq!(complaints(SUBSCRIPTION), 0);
        assert_eq!(complaints(&SUBSCRIPTION.replace("pubsub-normal", "pubsub-bulk")), 1);
        assert_eq!(complaints(&SUBSCRIPTION.replace("/events/", "/deliver/")), 1);
        assert_eq!(complaints(&SUBSCRIPTION.replace("- indexer", "- nobody")), 1);
        assert_eq!(complaints(SUBSCRIPTION.split("scopes").next().unwrap()), 1);
        assert_eq!(
            complaints(&SUBSCRIPTION.replace("  routes", "  deadLetterTopic: x\n  routes")),
            1
        );
        assert_eq!(complaints("spec: [\n"), 1);
    }

    #[test]
    fn a_bus_that_routes_elsewhere_is_found() {
        let file = ("components/subscriptions/indexer.yaml", SUBSCRIPTION);
        let bus = (BUS.0, "route(\"/deliver/{stream}\")");
        assert_eq!(subscriptions_fit_the_bus(&mesh(&[file, bus])).len(), 1);
    }

    #[test]
    fn a_lane_that_does_not_list_a_topic_is_found() {
        let lane = |lane: &str| {
            format!(
                "spec:\n  metadata:\n  - name: allowedTopics\n    value: a.b.{lane}, c.d.{lane}\n  \
                 - name: protectedTopics\n    value: a.b.{lane}\n  - name: publishingScopes\n    \
                 value: relay=a.b.{lane};x=\n  - name: subscriptionScopes\n    \
                 value: indexer=a.b.{lane}\n"
            )
        };
        let (critical, normal, bulk) = (lane("critical"), lane("normal"), lane("bulk"));
        let contract = "owner: indexer\ntopic: a.b\n";
        let mut tree = mesh(&[
            ("components/pubsub-critical.yaml", &critical),
            ("components/pubsub-normal.yaml", &normal),
            ("components/pubsub-bulk.yaml", &bulk),
            ("services/indexer/contracts/b.yaml", contract),
            ("components/subscriptions/indexer.yaml", SUBSCRIPTION),
        ]);
        assert_eq!(lanes_list_every_topic(&tree), []);
        tree.files[1].text = normal.replace("relay=", "catalog=").replace("indexer=", "other=");
        assert_eq!(lanes_list_every_topic(&tree).len(), 2);
        tree.files.remove(2);
        assert_eq!(lanes_list_every_topic(&tree).len(), 3);
    }

    #[test]
    fn a_service_without_resiliency_is_found() {
        let text = "spec:\n  targets:\n    apps:\n      indexer:\n        timeout: short\n";
        let of = |text: &str| mesh(&[("components/resiliency.yaml", text)]);
        assert_eq!(resiliency_names_every_app(&of(text)).len(), 0);
        assert_eq!(resiliency_names_every_app(&of(&text.replace("indexer", "other"))).len(), 1);
    }
}
