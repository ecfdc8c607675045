//! `syncline where`: asks the relay for the latest change, and every consumer what became of it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use contracts::{Key, Pn, Topic};

use crate::answers::{CopyStatus, RelayStatus, SourceTrail};
use crate::client::{Client, NoAnswer};
use crate::services::{self, Place, RELAY};
use crate::trail::{Answer, Followers, Follows, Trail};
use crate::{Form, Outcome, answers, entity};

/// What `where` is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  syncline where product MH01-XS-Black
  syncline where price MH01-XS-Black --wait 5
  syncline where stock MH01-XS-Black store-1008
  syncline where catalog.categories men.tops --json

Exit codes: 0 it arrived everywhere, 1 it is not known or the question failed, 3 it is still on the
way somewhere. Steps are between the clocks of the services; on one machine that is one clock.
When the broker was told lies in the memory of the relay: it is unknown after its restart.")]
pub(crate) struct Args {
    /// product, category, price, promotion, stock, location, or a topic.
    entity: String,
    /// SKU or id; of stock the SKU, or SKU/location.
    key: String,
    /// The location, for stock.
    location: Option<String>,
    /// Waits until the change arrived everywhere, at most this long.
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

/// How often a waiting command asks again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Prints the trail of the entity's latest change.
pub(crate) fn run(args: &Args, places: &[Place], form: Form) -> Result<Outcome> {
    let (topic, key) = entity::named(&args.entity, &args.key, args.location.as_deref())?;
    let deadline = Instant::now() + Duration::from_secs(args.wait.unwrap_or(0));
    let client = Client::new();
    let trail = loop {
        let trail = ask(&client, (&topic, &key), places)?;
        if trail.has_arrived() || Instant::now() >= deadline {
            break trail;
        }
        thread::sleep(ASK_AGAIN);
    };
    form.print(&trail, &trail.text())?;
    Ok(if trail.has_arrived() { Outcome::Well } else { Outcome::InPart })
}

/// Asks the relay, then all others at once.
fn ask(client: &Client, entity: (&Topic, &Key), places: &[Place]) -> Result<Trail> {
    let (topic, key) = (entity.0.as_str(), entity.1.as_str());
    let relay = services::find(places, RELAY);
    let source = ask_relay(client, relay, (topic, key))?;
    let place = source.as_ref().ok().and_then(|it| it.stream.clone().zip(it.pn));
    let followers = match &source {
        Ok(source) => followers(client, relay, (topic, source.stream.as_deref())),
        Err(reason) => Err(reason.clone()),
    };
    let question = Question { topic, key, place: place.as_ref() };
    let heard = question.ask_all(client, places).context("ask the consumers")?;

    let mut answers = Vec::new();
    if let Err(reason) = &followers {
        answers.push((RELAY.to_owned(), silent(reason.clone(), None)));
    }
    let listed = if followers.is_ok() { Followers::Listed } else { Followers::Unlisted };
    let followers = followers.unwrap_or_default();
    for follower in &followers {
        let (service, _) = follower;
        if !heard.iter().any(|(known, _)| known == service) {
            let reason = format!("follows, and is unknown here: give --service {service}=URL");
            answers.push((service.clone(), silent(reason, Some(follower))));
        }
    }
    for (service, heard) in heard {
        let follower = followers.iter().find(|(follower, _)| follower == service);
        let answer = match heard {
            Heard::Copy(answer) => answer,
            Heard::Nothing => match follower {
                Some(_) => silent("answers, but not on /sync/status".to_owned(), follower),
                None => continue,
            },
            Heard::Away(reason) => silent(reason, follower),
        };
        answers.push((service.to_owned(), answer));
    }
    Ok(Trail::of((topic, key), source.as_ref().ok(), listed, answers))
}

/// What the relay knows, or why it does not answer; a change that never was ends the question.
fn ask_relay(
    client: &Client,
    relay: &Place,
    (topic, key): (&str, &str),
) -> Result<Result<SourceTrail, String>> {
    match client.get(relay, &format!("/where/{topic}"), &[("key", key)]) {
        Ok(Some(source)) => Ok(Ok(source)),
        Ok(None) => Ok(Err(format!("{} has no route /where: is it older?", relay.url))),
        Err(NoAnswer::Refused(problem)) if problem.status == 404 => {
            bail!("{}", problem.detail.unwrap_or(problem.title))
        }
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// The answer of one who gives none; what a follower confirmed is known to the relay.
fn silent(reason: String, follower: Option<&Follower>) -> Answer {
    match follower {
        Some((_, pn)) => Answer::Away { reason, confirmed: *pn, follows: Follows::Known },
        None => Answer::Away { reason, confirmed: None, follows: Follows::Unknown },
    }
}

/// Who follows a topic, and up to where it confirmed the stream of the change.
type Follower = (String, Option<Pn>);

/// Who follows the topic, as the relay knows it, or why it does not say.
fn followers(
    client: &Client,
    relay: &Place,
    (topic, stream): (&str, Option<&str>),
) -> Result<Vec<Follower>, String> {
    let unsaid = |why: &str| format!("does not say who follows: {why}");
    let status = client.get::<RelayStatus>(relay, "/sync/status", &[]);
    let status = status.map_err(|error| unsaid(&error.to_string()))?;
    let sources = status.ok_or_else(|| unsaid("it has no route /sync/status"))?.sources;
    let owner = topic.split('.').next().unwrap_or_default();
    let source = sources.into_iter().find(|source| source.source == owner);
    let source = source.ok_or_else(|| unsaid(&format!("it names no source {owner}")))?;
    if let Some(error) = source.error {
        return Err(unsaid(&error));
    }
    Ok(of_stream(source.consumers, (topic, stream)))
}

/// Those that follow any stream of the topic; numbers of another stream than the change's say
/// nothing of the change.
fn of_stream(
    consumers: Vec<answers::Follower>,
    (topic, stream): (&str, Option<&str>),
) -> Vec<Follower> {
    let of_topic = |it: &str| it.strip_prefix(topic).is_some_and(|it| it.starts_with('.'));
    let followers = consumers.into_iter().filter_map(|consumer| {
        let positions = consumer.positions;
        let own = positions.iter().find(|it| stream == Some(it.stream.as_str()));
        let follows = positions.iter().any(|it| of_topic(&it.stream));
        follows.then(|| (consumer.consumer, own.map(|it| it.pn)))
    });
    followers.collect()
}

/// What one service is asked.
struct Question<'a> {
    topic: &'a str,
    key: &'a str,
    /// Stream and number, where the relay knows them.
    place: Option<&'a (String, Pn)>,
}

/// What one service answered.
enum Heard {
    Copy(Answer),
    /// It does not follow the topic.
    Nothing,
    Away(String),
}

impl Question<'_> {
    /// Asks everybody but the relay.
    fn ask_all<'a>(&self, client: &Client, places: &'a [Place]) -> Result<Vec<(&'a str, Heard)>> {
        thread::scope(|scope| {
            let asked: Vec<_> = places
                .iter()
                .filter(|place| place.service != RELAY)
                .map(|place| (&place.service, scope.spawn(|| self.ask(client, place))))
                .collect();
            let heard = asked.into_iter().map(|(service, asked)| {
                let answer = asked.join().map_err(|_| anyhow!("asking {service} broke off"))?;
                Ok((service.as_str(), answer))
            });
            heard.collect()
        })
    }

    fn ask(&self, client: &Client, consumer: &Place) -> Heard {
        match self.try_ask(client, consumer) {
            Ok(Some(answer)) => Heard::Copy(answer),
            Ok(None) => Heard::Nothing,
            Err(error) => Heard::Away(error.to_string()),
        }
    }

    fn try_ask(&self, client: &Client, consumer: &Place) -> Result<Option<Answer>, NoAnswer> {
        let status = client.get::<CopyStatus>(consumer, "/sync/status", &[])?;
        let topics = status.map_or_else(Vec::new, |status| status.topics);
        let Some(status) = topics.into_iter().find(|status| status.topic == self.topic) else {
            return Ok(None);
        };
        let number = self.place.map(|(_, pn)| pn.to_string());
        let mut query = vec![("key", self.key)];
        if let (Some((stream, _)), Some(number)) = (self.place, &number) {
            query.extend([("stream", stream.as_str()), ("pn", number.as_str())]);
        }
        let copy = client.get(consumer, &format!("/sync/where/{}", self.topic), &query)?;
        Ok(copy.map(|copy| Answer::Copy(Box::new((copy, status)))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_follower_is_placed_by_the_stream_of_the_change_alone() {
        let consumers = json!([
            {"consumer": "gateway", "positions": [
                {"stream": "pricing.prices.critical", "pn": "900"},
                {"stream": "pricing.prices.normal", "pn": "101"},
            ]},
            {"consumer": "search-indexer", "positions": [
                {"stream": "pricing.prices.critical", "pn": "900"},
            ]},
            {"consumer": "warehouse", "positions": [
                {"stream": "pricing.pricestags.normal", "pn": "5"},
            ]},
        ]);
        let placed = |stream| {
            let consumers = serde_json::from_value(consumers.clone()).unwrap();
            let placed = of_stream(consumers, ("pricing.prices", stream));
            placed.into_iter().map(|(name, pn)| (name, pn.map(Pn::get))).collect::<Vec<_>>()
        };
        let (gateway, search) = ("gateway".to_owned(), "search-indexer".to_owned());
        let normal = [(gateway.clone(), Some(101)), (search.clone(), None)];
        assert_eq!(placed(Some("pricing.prices.normal")), normal);
        assert_eq!(placed(None), [(gateway, None), (search, None)]);
    }
}
