//! Examples, exit statuses and variables of each command. What a command lacks here fails a test.

use super::{HelpEntry, entry};

/// What the help of a command says after its options.
#[derive(Debug)]
pub(super) struct CommandHelp {
    /// Such as `aspctl quarantine list`.
    pub(super) path: &'static str,
    /// Commands, as one would type them.
    pub(super) examples: &'static [HelpEntry],
    /// The command's own; [`COMMON_STATUSES`] follow.
    pub(super) exit_statuses: &'static [HelpEntry],
    /// Groups of variables that the command reads.
    pub(super) variables: &'static [&'static [HelpEntry]],
}

/// What the help of a command says, by its path.
pub(super) fn help_of(path: &str) -> Option<&'static CommandHelp> {
    COMMANDS.iter().find(|help| help.path == path)
}

/// The exit statuses that every command can have.
pub(super) const COMMON_STATUSES: &[HelpEntry] = &[
    entry("64", "invalid command line"),
    entry("101", "internal error: please report it"),
    entry("130", "interrupted by Ctrl-C, SIGTERM or SIGHUP"),
];

const SUCCESS: HelpEntry = entry("0", "success");
const FAILURE: HelpEntry = entry("1", "failure");
const SUCCESS_OR_FAILURE: &[HelpEntry] = &[SUCCESS, FAILURE];

/// Variables for calls to AWS, which mean what they mean to the AWS CLI, and the stack.
const AWS: &[HelpEntry] = &[
    entry("ASPCTL_STACK", "the stack, as --stack"),
    entry("AWS_REGION", "the region, as --region"),
    entry("AWS_DEFAULT_REGION", "the region, unless AWS_REGION is set"),
    entry(
        "AWS_ACCESS_KEY_ID",
        "credentials, unless --profile is given",
    ),
    entry("AWS_SECRET_ACCESS_KEY", "the same"),
    entry("AWS_SESSION_TOKEN", "the same"),
    entry("AWS_PROFILE", "the profile, unless keys are set"),
    entry("AWS_CONFIG_FILE", "instead of ~/.aws/config"),
    entry(
        "AWS_SHARED_CREDENTIALS_FILE",
        "instead of ~/.aws/credentials",
    ),
    entry("AWS_ENDPOINT_URL", "another address, such as a local stack"),
    entry("AWS_CA_BUNDLE", "certificates to trust (PEM)"),
    entry("AWS_MAX_ATTEMPTS", "attempts of a call to AWS"),
    entry("AWS_EC2_METADATA_DISABLED", "true: no credentials of EC2"),
];

/// Variables for calls to Alexa.
const ALEXA: &[HelpEntry] = &[
    entry(
        "ASPCTL_CREDENTIALS_FILE",
        "the credentials, as --credentials-file",
    ),
    entry(
        "ASPCTL_CREDENTIALS_SECRET",
        "or as --credentials-secret, by way of AWS",
    ),
    entry("LWA_CLIENT_ID", "or in these three variables"),
    entry("LWA_CLIENT_SECRET", "the client secret"),
    entry("LWA_REFRESH_TOKEN", "the refresh token"),
    entry("ASPCTL_ALEXA_URL", "the host of the API, as --alexa-url"),
    entry("ASPCTL_LWA_URL", "the token endpoint, as --lwa-url"),
    entry(
        "ASPCTL_ALEXA_BACKOFF",
        "the first backoff, as --alexa-backoff",
    ),
];

/// Variables of the credentials with which lists were kept, for names beside ids.
const NAMES: &[HelpEntry] = &[
    entry("ASPCTL_CREDENTIALS_FILE", "whose lists have names for ids"),
    entry("LWA_CLIENT_ID", "or in these three variables"),
    entry("LWA_CLIENT_SECRET", "the client secret"),
    entry("LWA_REFRESH_TOKEN", "the refresh token"),
];

const FILES: &[HelpEntry] = &[entry("ASPCTL_FILE", "the subscriptions files, as --file")];

const ORGANIZATION: &[HelpEntry] = &[entry(
    "ASPCTL_ORGANIZATION",
    "the organization, as units --under",
)];

const CACHE: &[HelpEntry] = &[entry("XDG_CACHE_HOME", "where lists are kept [~/.cache]")];

const PROXIES: &[HelpEntry] = &[
    entry("HTTPS_PROXY", "proxy, also HTTP_PROXY"),
    entry("NO_PROXY", "hosts that are called directly"),
];

const OUTPUT: &[HelpEntry] = &[
    entry("NO_COLOR", "no colours"),
    entry("CLICOLOR_FORCE", "colours in a pipe, too"),
];

/// One entry for each command that people see, in the order of the command line.
pub(super) const COMMANDS: &[CommandHelp] = &[
    CommandHelp {
        path: "aspctl",
        examples: &[
            entry(
                "aspctl whoami",
                "Show whose credentials the commands use, and for which stack",
            ),
            entry(
                "aspctl plan",
                "Show what apply would change for ./subscriptions.toml",
            ),
            entry("aspctl apply", "Create the subscriptions that Alexa lacks"),
            entry("aspctl doctor", "Check every link from Alexa to the alarms"),
            entry(
                "aspctl help wait",
                "Show the options and examples of a command",
            ),
        ],
        exit_statuses: &[
            entry("0", "success; doctor: all is well; wait, status: ready"),
            entry("1", "failure; doctor: a check failed or gave a warning"),
            entry(
                "2",
                "wait, status: not ready; plan --detailed-exitcode: drift",
            ),
            entry("2", "explain: an event would be quarantined"),
            entry("3", "wait: timed out; status: nothing is known"),
            entry("3", "explain: the function would fail over an event"),
        ],
        variables: &[AWS, ALEXA, FILES, ORGANIZATION, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl login",
        examples: &[
            entry(
                "aspctl login --credentials-file ~/.config/asp-events.toml",
                "Ask for the consent in a browser, and keep the token in a file of yours",
            ),
            entry(
                "aspctl login --credentials-secret asp-events/alexa --no-browser",
                "Use the browser of another machine; keep the token in AWS Secrets Manager",
            ),
        ],
        exit_statuses: &[entry("0", "the credentials are stored"), FAILURE],
        variables: &[
            &[
                entry("ASPCTL_AUTHORIZATION_URL", "as --authorization-url"),
                entry("BROWSER", "the browser to open"),
            ],
            ALEXA,
            AWS,
            PROXIES,
            OUTPUT,
        ],
    },
    CommandHelp {
        path: "aspctl whoami",
        examples: &[
            entry(
                "aspctl whoami",
                "Show account, scopes, token, AWS account, region and stack",
            ),
            entry("aspctl whoami --output json", "The same for a script"),
        ],
        exit_statuses: &[
            entry("0", "every part is there"),
            entry("1", "a part is missing"),
        ],
        variables: &[ALEXA, AWS, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl init",
        examples: &[
            entry(
                "aspctl init",
                "Ask what Alexa should send, and write subscriptions.toml",
            ),
            entry(
                "aspctl init --under \"Grand Hotel\" --yes --file -",
                "Ask nothing, and print the file for a property",
            ),
        ],
        exit_statuses: &[entry("0", "the file is written"), FAILURE],
        variables: &[ORGANIZATION, CACHE, ALEXA, AWS, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl plan",
        examples: &[
            entry(
                "aspctl plan",
                "Show what apply would change for ./subscriptions.toml",
            ),
            entry(
                "aspctl plan --file property --prune",
                "Read all *.toml of a folder",
            ),
            entry(
                "aspctl plan --detailed-exitcode --output json > plan.json",
                "Tell a script whether there is drift",
            ),
        ],
        exit_statuses: &[
            SUCCESS,
            entry("1", "failure, or a subscription is undecided"),
            entry("2", "with --detailed-exitcode: there is something to do"),
        ],
        variables: &[FILES, ALEXA, AWS, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl apply",
        examples: &[
            entry("aspctl apply", "Create what is missing, renew what expires"),
            entry(
                "aspctl apply --prune --max-delete 10% --yes",
                "Also delete what the file no longer names, without a question",
            ),
            entry(
                "aspctl apply --file - < subscriptions.toml",
                "Read standard input",
            ),
        ],
        exit_statuses: &[
            entry("0", "Alexa has what the file says"),
            entry("1", "failure, or something was not done"),
        ],
        variables: &[FILES, ALEXA, AWS, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl destroy",
        examples: &[
            entry(
                "aspctl destroy",
                "Delete all that sends events to the topic, after a question",
            ),
            entry(
                "aspctl destroy --topic arn:aws:sns:us-east-1:123456789012:old --yes",
                "Leave a topic that the file no longer names",
            ),
        ],
        exit_statuses: &[
            entry("0", "nothing sends events to the topic"),
            entry("1", "failure, or something was not deleted"),
        ],
        variables: &[FILES, ALEXA, AWS, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl export",
        examples: &[
            entry(
                "aspctl export > subscriptions.toml",
                "Adopt what another tool created",
            ),
            entry(
                "aspctl export | aspctl plan --file -",
                "Check that the file says what Alexa has: nothing to do",
            ),
        ],
        exit_statuses: SUCCESS_OR_FAILURE,
        variables: &[ALEXA, AWS, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl units",
        examples: &[
            entry(
                "aspctl units --tree --under amzn1.alexa.unit.did.EXAMPLEORGANIZATION",
                "Show the whole organization, each unit below the one in which it is",
            ),
            entry(
                "aspctl units --under \"Grand Hotel\" --search \"room 10\"",
                "Find rooms by their names",
            ),
        ],
        exit_statuses: SUCCESS_OR_FAILURE,
        variables: &[ORGANIZATION, CACHE, ALEXA, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl devices",
        examples: &[
            entry(
                "aspctl devices --unit amzn1.alexa.unit.did.EXAMPLEROOM101",
                "Show the devices of a room, and whether they are reachable",
            ),
            entry(
                "aspctl devices --unit \"Room 101\"",
                "By the name of the room",
            ),
        ],
        exit_statuses: SUCCESS_OR_FAILURE,
        variables: &[ORGANIZATION, CACHE, ALEXA, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl list",
        examples: &[
            entry("aspctl list", "List subscriptions and configurations"),
            entry(
                "aspctl list subscriptions --event Alexa.Skill.Interaction.Failure -o json",
                "List those to one type of event, for a script",
            ),
        ],
        exit_statuses: SUCCESS_OR_FAILURE,
        variables: &[ORGANIZATION, ALEXA, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl get",
        examples: &[entry(
            "aspctl get amzn1.alexa.aem.subscription.000002",
            "Show all fields of a subscription",
        )],
        exit_statuses: SUCCESS_OR_FAILURE,
        variables: &[ALEXA, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl delete",
        examples: &[entry(
            "aspctl delete amzn1.alexa.aem.subscription.000002",
            "Delete a subscription after a question; --yes asks none",
        )],
        exit_statuses: &[
            entry("0", "all were deleted"),
            entry("1", "failure, or some were not deleted"),
        ],
        variables: &[ALEXA, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl doctor",
        examples: &[
            entry(
                "aspctl doctor",
                "Check every link, and say what to do about a broken one",
            ),
            entry(
                "aspctl doctor --send --timeout 3m",
                "Also send a synthetic event through the chain, and wait for its effect",
            ),
            entry(
                "aspctl doctor --skip alexa",
                "Check what is in AWS, without credentials of Alexa",
            ),
            entry(
                "aspctl doctor --only alarms,ledger",
                "Make two checks, and those that they need",
            ),
            entry(
                "aspctl doctor --quiet --output json",
                "The whole chain for a monitor",
            ),
        ],
        exit_statuses: &[
            entry("0", "everything is fine that is to be checked"),
            entry("1", "a check failed, gave a warning or could not be made"),
        ],
        variables: &[FILES, ALEXA, AWS, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl send",
        examples: &[
            entry(
                "aspctl send subscription-activation --unit amzn1.alexa.unit.did.EXAMPLEROOM105",
                "Rehearse provisioning: the unit becomes ready",
            ),
            entry(
                "aspctl send skill-failure",
                "Rehearse an alarm: LiveSkillFailureAlarm fires",
            ),
            entry(
                "aspctl send automation-failure --error ENDPOINT_NOT_FOUND",
                "Rehearse a retry that needs a fix first",
            ),
            entry("aspctl send device-setup --print", "Show the event instead"),
        ],
        exit_statuses: SUCCESS_OR_FAILURE,
        variables: &[AWS, ORGANIZATION, ALEXA, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl tail",
        examples: &[
            entry(
                "aspctl tail",
                "Follow everything that the function publishes",
            ),
            entry(
                "aspctl tail --type retry --decision EXHAUSTED --limit 1",
                "Block until a retry budget is spent",
            ),
            entry(
                "aspctl tail --for 10m > messages.jsonl",
                "Keep what comes in 10 minutes",
            ),
            entry(
                "aspctl tail --since 1h",
                "First show what the log knows of the last hour",
            ),
        ],
        exit_statuses: &[
            entry("0", "success; without --limit and --for also after Ctrl-C"),
            FAILURE,
        ],
        variables: &[AWS, ORGANIZATION, ALEXA, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl wait",
        examples: &[
            entry(
                "aspctl wait --unit amzn1.alexa.unit.did.EXAMPLEROOM105",
                "Block a provisioning script until the unit is ready",
            ),
            entry(
                "aspctl wait --device amzn1.alexa.endpoint.example-101 --since 5m --timeout 30m",
                "Ignore what is older than 5 minutes",
            ),
            entry(
                "aspctl wait --unit amzn1.alexa.unit.did.EXAMPLEROOM105 --no-queue",
                "Read the ledger, without the right to make a queue",
            ),
        ],
        exit_statuses: &[
            entry("0", "ready"),
            FAILURE,
            entry("2", "not ready: the last signal was a failure"),
            entry("3", "timed out"),
        ],
        variables: &[AWS, ORGANIZATION, ALEXA, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl status",
        examples: &[
            entry(
                "aspctl status --unit amzn1.alexa.unit.did.EXAMPLEROOM105",
                "Show the last readiness of a unit",
            ),
            entry(
                "aspctl status --principal amzn1.account.EXAMPLE --output json",
                "Show that of a role, for a script",
            ),
        ],
        exit_statuses: &[
            entry("0", "ready"),
            FAILURE,
            entry("2", "not ready"),
            entry("3", "nothing is known"),
        ],
        variables: &[AWS, ORGANIZATION, ALEXA, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl replay",
        examples: &[
            entry(
                "aspctl replay on-failure --dry-run",
                "Show what would be sent again",
            ),
            entry(
                "aspctl replay quarantine --reason UNKNOWN_STATUS --rate 5",
                "Send again what a new status word held back, 5 events per second",
            ),
            entry(
                "aspctl replay --file events.jsonl --to function --yes",
                "From a file",
            ),
        ],
        exit_statuses: &[
            entry("0", "all selected events were sent"),
            entry("1", "failure, or some were not sent"),
        ],
        variables: &[AWS, ORGANIZATION, ALEXA, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl quarantine",
        examples: &[
            entry(
                "aspctl quarantine list",
                "List the messages that could not be processed",
            ),
            entry(
                "aspctl quarantine show 21e11f23-fa38-4f2f-8265-a207af9ba2bc",
                "Show one with its text",
            ),
        ],
        exit_statuses: SUCCESS_OR_FAILURE,
        variables: &[AWS, NAMES, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl quarantine list",
        examples: &[
            entry("aspctl quarantine list", "List all messages, oldest first"),
            entry(
                "aspctl quarantine list --reason UNKNOWN_STATUS --output json",
                "List those of one reason, for a script",
            ),
        ],
        exit_statuses: SUCCESS_OR_FAILURE,
        variables: &[AWS, NAMES, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl quarantine show",
        examples: &[entry(
            "aspctl quarantine show 21e11f23-fa38-4f2f-8265-a207af9ba2bc",
            "Show a message, with the reason and the text that the function received",
        )],
        exit_statuses: SUCCESS_OR_FAILURE,
        variables: &[AWS, NAMES, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl quarantine discard",
        examples: &[
            entry(
                "aspctl quarantine discard 21e11f23-fa38-4f2f-8265-a207af9ba2bc",
                "Delete a message after a question",
            ),
            entry(
                "aspctl quarantine discard --all --yes",
                "Delete all that can be seen",
            ),
        ],
        exit_statuses: &[
            entry("0", "all were deleted"),
            entry("1", "failure, or some were not deleted"),
        ],
        variables: &[AWS, NAMES, CACHE, PROXIES, OUTPUT],
    },
    CommandHelp {
        path: "aspctl explain",
        examples: &[
            entry(
                "aspctl explain events/automation-unknown-status.json",
                "Show what the function would do with the events of a file",
            ),
            entry(
                "aspctl send automation-failure --print | aspctl explain - --attempt 6",
                "The same for the sixth failure of an automation",
            ),
            entry(
                "aspctl explain event.json --parameter SuccessStatuses=DONE",
                "The same if the stack had this parameter",
            ),
        ],
        exit_statuses: &[
            entry("0", "every event would take effect"),
            entry("1", "failure, or there is no event"),
            entry("2", "an event would be quarantined"),
            entry("3", "the function would fail over an event"),
        ],
        variables: &[
            &[entry("ASPCTL_STACK", "the stack, as --stack")],
            NAMES,
            CACHE,
            OUTPUT,
        ],
    },
    CommandHelp {
        path: "aspctl completion",
        examples: &[
            entry(
                "aspctl completion bash > ~/.local/share/bash-completion/completions/aspctl",
                "Complete commands and options in new shells",
            ),
            entry(
                "aspctl completion zsh > ~/.local/share/zsh/site-functions/_aspctl",
                "The same for zsh, if the folder is in fpath before compinit",
            ),
            entry(
                "aspctl completion fish > ~/.config/fish/completions/aspctl.fish",
                "The same for fish",
            ),
        ],
        exit_statuses: SUCCESS_OR_FAILURE,
        variables: &[OUTPUT],
    },
    CommandHelp {
        path: "aspctl generate",
        examples: &[
            entry(
                "aspctl generate man ~/.local/share/man/man1",
                "Write the man pages",
            ),
            entry(
                "aspctl generate schema",
                "Print the schema of the subscriptions file",
            ),
        ],
        exit_statuses: SUCCESS_OR_FAILURE,
        variables: &[OUTPUT],
    },
    CommandHelp {
        path: "aspctl generate man",
        examples: &[entry(
            "aspctl generate man ~/.local/share/man/man1",
            "Write aspctl.1, aspctl-apply.1 and the others",
        )],
        exit_statuses: SUCCESS_OR_FAILURE,
        variables: &[OUTPUT],
    },
    CommandHelp {
        path: "aspctl generate schema",
        examples: &[entry(
            "aspctl generate schema > subscriptions.schema.json",
            "Let an editor validate the file",
        )],
        exit_statuses: SUCCESS_OR_FAILURE,
        variables: &[OUTPUT],
    },
];
