//! What `kubectl apply` warns of and takes all the same: the check digits of organisations' fiscal codes.
//!
//! Only a policy can warn; a rule of the schema would refuse, and pagoPA's own test codes fail this check. In production the operator refuses what
//! is doubtful here; an institution's code never changes, so the sooner it is seen the better.

use serde_json::{Value, json};

/// Name of the policy and of its binding.
pub(crate) const NAME: &str = "fiorino-doubtful-fiscal-codes";

/// The codes of the object, whatever its kind; nothing is known of their types before.
const CODES: &str = "has(object.spec.fiscalCode) ? [string(object.spec.fiscalCode)] \
     : has(object.spec.beneficiaries) ? object.spec.beneficiaries.map(b, string(b.fiscalCode)) : []";

/// Those of which the last digit does not fit: from the right every second digit counts twice, a double above nine less nine, and the sum is a
/// multiple of ten (DPR 784/1976, as for the VAT number).
const DOUBTFUL: &str = "variables.codes.filter(code, code.matches('^[0-9]{11}$') \
     && ([0, 2, 4, 6, 8, 10].map(i, int(code.substring(i, i + 1))).sum() \
     + [1, 3, 5, 7, 9].map(i, 2 * int(code.substring(i, i + 1))).map(d, d > 9 ? d - 9 : d).sum()) % 10 != 0)";

const MESSAGE: &str = "variables.doubtful.map(code, 'fiscalCode ' + code \
     + ': the check digit does not fit: compare it with the index of public administrations (IPA)').join('; ')";

/// The policy and its binding.
pub(crate) fn objects() -> [Value; 2] {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            // It only warns: what it cannot judge is taken.
            "failurePolicy": "Ignore",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["fiorino.dev"],
                "apiVersions": ["*"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["brokers", "creditorinstitutions", "paymentservices"],
            }]},
            "variables": [
                {"name": "codes", "expression": CODES},
                {"name": "doubtful", "expression": DOUBTFUL},
            ],
            "validations": [{"expression": "size(variables.doubtful) == 0", "messageExpression": MESSAGE}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Warn"]},
    });
    [policy, binding]
}
