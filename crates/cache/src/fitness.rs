//! Whether a Redis may be the cache: what it forgets it must forget whole.

use std::fmt;

/// What is wrong with an instance, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Unfit(Vec<Fault>);

/// One setting that lets a value outlive what is known about it, or keeps news out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Full memory would refuse fills, or let entries live on that nobody asks for.
    Policy(String),
    /// After a restart the values of an earlier moment would be current again.
    Snapshots(String),
    /// The same.
    Log,
    /// A replica that takes over may hold a value whose end it never heard of.
    Replicas(u64),
    /// It is such a replica itself.
    Replica,
    /// The entries of one call would lie on several instances.
    Cluster,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this Redis cannot be the cache: ")?;
        for (place, fault) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("; ")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(policy) => {
                write!(f, "its maxmemory-policy is {policy} (set `maxmemory-policy allkeys-lru`)")
            }
            Self::Snapshots(save) => write!(f, "it saves snapshots, {save} (set `save \"\"`)"),
            Self::Log => f.write_str("it keeps an append-only file (set `appendonly no`)"),
            Self::Replicas(1) => f.write_str("it has a replica (take away its `replicaof`)"),
            Self::Replicas(n) => write!(f, "it has {n} replicas (take away their `replicaof`)"),
            Self::Replica => f.write_str("it is a replica (set `replicaof no one`)"),
            Self::Cluster => f.write_str("it is a cluster (set `cluster-enabled no`)"),
        }
    }
}

/// What an instance says of itself, as far as it may.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// The answer to `INFO`.
    pub(crate) info: Option<String>,
    /// When it saves snapshots; empty for never.
    pub(crate) save: Option<String>,
}

impl Settings {
    /// What it would not tell, for a warning.
    pub(crate) fn unknown(&self) -> Vec<&'static str> {
        let told = |name| self.field(name).is_some();
        let all = [
            ("maxmemory-policy", told("maxmemory_policy")),
            ("appendonly", told("aof_enabled")),
            ("save", self.save.is_some()),
            ("replicaof", told("role") && told("connected_slaves")),
        ];
        all.into_iter().filter(|(_, told)| !told).map(|(name, _)| name).collect()
    }

    /// Refuses what is known to be wrong.
    pub(crate) fn judge(&self) -> Result<(), Unfit> {
        let mut faults = Vec::new();
        if let Some(policy) = self.field("maxmemory_policy").filter(|p| !p.starts_with("allkeys-"))
        {
            faults.push(Fault::Policy(policy.to_owned()));
        }
        if let Some(save) = self.save.as_deref().filter(|save| !save.is_empty()) {
            faults.push(Fault::Snapshots(save.to_owned()));
        }
        if self.count("aof_enabled") > 0 {
            faults.push(Fault::Log);
        }
        if self.field("role") == Some("slave") {
            faults.push(Fault::Replica);
        }
        if self.count("connected_slaves") > 0 {
            faults.push(Fault::Replicas(self.count("connected_slaves")));
        }
        if self.count("cluster_enabled") > 0 {
            faults.push(Fault::Cluster);
        }
        if faults.is_empty() { Ok(()) } else { Err(Unfit(faults)) }
    }

    fn count(&self, name: &str) -> u64 {
        self.field(name).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    fn field(&self, name: &str) -> Option<&str> {
        let lines = self.info.as_deref()?.lines();
        let mut fields = lines.filter_map(|line| line.trim_end().split_once(':'));
        fields.find(|(field, _)| *field == name).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIT: &str = "# Memory\r\nmaxmemory_policy:allkeys-lfu\r\n# Persistence\r\n\
        aof_enabled:0\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\
        # Cluster\r\ncluster_enabled:0\r\n";

    fn settings(info: &str, save: &str) -> Settings {
        Settings { info: Some(info.to_owned()), save: Some(save.to_owned()) }
    }

    #[test]
    fn an_instance_that_forgets_everything_at_once_is_fit() {
        let settings = settings(FIT, "");
        assert_eq!(settings.judge(), Ok(()));
        assert!(settings.unknown().is_empty());
    }

    #[test]
    fn each_fault_names_the_setting_that_mends_it() {
        let says = |from: &str, to: &str, save: &str| {
            let unfit = settings(&FIT.replace(from, to), save).judge();
            unfit.map_or_else(|unfit| unfit.to_string(), |()| "fit".to_owned())
        };
        assert!(says("allkeys-lfu", "noeviction", "").contains("`maxmemory-policy allkeys-lru`"));
        assert!(says("allkeys-lfu", "volatile-lru", "").contains("volatile-lru"));
        assert!(says("", "", "3600 1 300 100").contains("`save \"\"`"));
        assert!(says("aof_enabled:0", "aof_enabled:1", "").contains("`appendonly no`"));
        assert!(says("slaves:0", "slaves:2", "").contains("2 replicas"));
        assert!(says("role:master", "role:slave", "").contains("`replicaof no one`"));
        assert!(
            says("cluster_enabled:0", "cluster_enabled:1", "").contains("`cluster-enabled no`")
        );
        let both = says("allkeys-lfu", "noeviction", "60 1");
        assert!(both.contains("noeviction") && both.contains("; it saves snapshots, 60 1"));
    }

    #[test]
    fn what_an_instance_does_not_tell_is_unknown_and_no_fault() {
        let silent = Settings::default();
        assert_eq!(silent.judge(), Ok(()));
        assert_eq!(silent.unknown(), ["maxmemory-policy", "appendonly", "save", "replicaof"]);
        let partly = Settings { info: Some(FIT.to_owned()), save: None };
        assert_eq!(partly.unknown(), ["save"]);
    }
}
