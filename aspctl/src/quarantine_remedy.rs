//! What to do about quarantined messages, by reason.

use asp_events::event::QuarantineReason;

/// Says what to do about quarantined messages. Without it, a replay quarantines them again.
pub(crate) fn remedy(reason: QuarantineReason) -> &'static str {
    match reason {
        QuarantineReason::UnknownEventType => {
            "To get such events as they are, add their type to the parameter ForwardEventTypes. \
             For an effect of their own, deploy a version that knows the type: \
             docs/adding-an-event.md"
        }
        QuarantineReason::UnknownStatus => {
            "Find out what the status means, add it to the parameter SuccessStatuses or \
             FailureStatuses, and deploy"
        }
        QuarantineReason::InvalidEvent => {
            "Compare the event with Amazon's schema: Amazon may have changed it. Please report it, \
             and deploy a version that can read it"
        }
        QuarantineReason::NotJson | QuarantineReason::NotAnEvent => {
            "Such messages are not from Alexa, or were changed on their way: find out who \
             publishes them to the events topic. Discard what nobody needs"
        }
    }
}
