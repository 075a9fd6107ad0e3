//! Skipper's filters that are not here, and why: whoever moves a file of routes over is told so, and not that
//! a name he has used for years is not known.

/// Filters for one reason absent.
pub(super) struct Absent {
    /// Why, as a hint and in the reference page.
    pub(super) why: &'static str,
    pub(super) names: &'static [&'static str],
}

/// All that Skipper documents and we do not have.
pub(super) const ABSENT: &[Absent] = &[
    Absent {
        why: "it asks a token service, which Tombolo does not do yet; `jwtValidation` and `jwtValidationKeys` check \
              tokens without one",
        names: &[
            "oauthTokeninfoAnyScope",
            "oauthTokeninfoAllScope",
            "oauthTokeninfoAnyKV",
            "oauthTokeninfoAllKV",
            "oauthTokeninfoValidate",
            "oauthTokenintrospectionAnyClaims",
            "oauthTokenintrospectionAllClaims",
            "oauthTokenintrospectionAnyKV",
            "oauthTokenintrospectionAllKV",
            "secureOauthTokenintrospectionAnyClaims",
            "secureOauthTokenintrospectionAllClaims",
            "secureOauthTokenintrospectionAnyKV",
            "secureOauthTokenintrospectionAllKV",
            "webhook",
        ],
    },
    Absent {
        why: "logging people in is not done by Tombolo yet",
        names: &[
            "oauthOidcUserInfo",
            "oauthOidcAnyClaims",
            "oauthOidcAllClaims",
            "oidcClaimsQuery",
            "oauthGrant",
            "grantCallback",
            "grantLogout",
            "grantClaimsQuery",
        ],
    },
    Absent {
        why: "limits shared by several gateways are not there yet; `ratelimit` and `clientRatelimit` hold for each \
              gateway",
        names: &[
            "clusterRatelimit",
            "clusterClientRatelimit",
            "clusterLeakyBucketRatelimit",
            "backendRatelimit",
        ],
    },
    Absent {
        why: "client certificates are not asked for yet",
        names: &[
            "tlsPassClientCertificates",
            "mtlsAuthn",
            "mtlsCN",
            "mtlsIssuerDN",
            "mtlsSanDNS",
            "mtlsSanIP",
            "mtlsSanCIDR",
            "mtlsSanURI",
        ],
    },
    Absent {
        why: "policies and scripts are not run by Tombolo yet",
        names: &[
            "lua",
            "opaAuthorizeRequest",
            "opaAuthorizeRequestWithBody",
            "opaServeResponse",
            "opaServeResponseWithReqBody",
        ],
    },
    Absent {
        why: "Tombolo does not have it yet",
        names: &["awsSigv4", "setFastCgiFilename", "backendIsProxy"],
    },
];

/// Why a filter of Skipper's is not here; `None` if Skipper has none of this name either.
pub(super) fn why_absent(name: &str) -> Option<&'static str> {
    ABSENT.iter().find(|absent| absent.names.contains(&name)).map(|absent| absent.why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_is_not_said_to_be_absent() {
        for name in ABSENT.iter().flat_map(|absent| absent.names) {
            assert!(super::super::find(name).is_none(), "{name}");
        }
        assert!(why_absent("lua").is_some() && why_absent("setPth").is_none());
    }
}
