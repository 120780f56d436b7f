"""What the script of the page Try it says, in the reader's language."""

from __future__ import annotations

from django.utils.translation import gettext


def words_of_the_page() -> dict[str, str]:
    return {
        "calling": gettext("Calling…"),
        "reading": gettext("Reading the answer: {bytes}"),
        "no_key": gettext("Paste a key first, or make one for this page."),
        "no_bearer": gettext("Paste the key alone: without “Bearer”, spaces or quotes."),
        "bad_path": gettext("The path has to start with “/” and stay below the model’s address."),
        "stopped": gettext("You stopped the call. It may have been counted all the same."),
        "too_slow": gettext("The answer was not complete after {seconds} seconds, so the call was stopped."),
        "cut": gettext("The answer is longer than {bytes}. The rest was not read."),
        "broken_off": gettext("The connection broke off before the answer was complete."),
        "unreachable": gettext(
            "The browser got no answer. Either the gateway can’t be reached, or it doesn’t accept calls from this "
            "page: then the operator has to allow this console’s address in the gateway’s CORS settings. From a "
            "terminal, the curl command below works either way."
        ),
        "redirected": gettext("The model answered with a redirect, which this page doesn’t follow."),
        "name_time": gettext("Time"),
        "name_size": gettext("Size"),
        "name_cost": gettext("Cost"),
        "name_left": gettext("Limits"),
        "name_limit": gettext("Limit “{name}”"),
        "took": gettext("{first} ms to the first byte, {all} ms in all"),
        "size": gettext("{bytes} received"),
        "units_one": gettext("1 unit"),
        "units_many": gettext("{count} units"),
        "nothing_charged": gettext("Nothing was charged"),
        "left": gettext("{left} of {amount} left"),
        "left_only": gettext("{left} left"),
        "full_in": gettext("whole again in {time}"),
        "not_passed_on": gettext("The model doesn’t pass on what is left. The key’s page shows it."),
        "empty": gettext("The answer has no body."),
        "what_to_do": gettext("What to do about it"),
    }
